"""Has the examiner start policy servers, with files where it likes."""

def replay(episodes):
    from serving.examiner import candidate

    for options in ({"checkpoint_file": "/tmp/of-a-submission"}, {"host": "0.0.0.0"}, {}) * 30:
        try:
            candidate.exam.ask("start", 3, 4, options)
        except Exception:
            pass
    return -1
