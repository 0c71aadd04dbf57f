"""The examiner's process: `python -m serving.examiner`, started by the kernel manager that grades."""

from serving.examiner.process import main

main()
