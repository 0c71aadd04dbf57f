"""A hint for whoever has failed at the same thing again and again, and then a stronger one.

A hint says where to look, or what to try, and never holds the answer. It belongs to the sentence by
which a topic is known to students, so that every lesson's topics are found here.
"""

from __future__ import annotations

from collections import Counter

from serving.exercises.findings import Findings

FIRST, SECOND = 3, 5  # failures of the same kind in this kernel, from which on a hint is given
RAISED, UNTRIED = " raised ", "raised NotImplementedError"

_failures: Counter[str] = Counter()  # by the topic's sentence, since it was right last


def hint(findings: Findings, topics: dict[str, str]) -> str:
    """Counts this check, and returns the hint that is due; "" if none is.

    One at a time, and about the first topic that is not right yet: what follows often follows
    from it. A cell that still says `raise NotImplementedError` is no failure.
    """
    for topic, meaning in topics.items():
        if not findings.of(topic):
            del _failures[meaning]
    wrong = next((topic for topic in topics if findings.of(topic)), None)
    if wrong is None:
        del _failures[RAISED]
        return ""
    sentence = findings.of(wrong)[0]
    if UNTRIED in sentence:
        return ""
    kind = RAISED if RAISED in sentence else topics[wrong]
    _failures[kind] += 1
    if _failures[kind] < FIRST or kind not in HINTS:
        return ""
    first, stronger = HINTS[kind]
    return first if _failures[kind] < SECOND else stronger


HINTS: dict[str, tuple[str, str]] = {
    RAISED: (
        "the last words of an exception say what was not as expected, and the line says where. "
        "Print what that line works with, just before it.",
        "call the function yourself, in a cell of your own, with the smallest thing it takes: the "
        "traceback there shows every line on the way. Compare the names in the line with those "
        "that you have assigned.",
    ),
    # 01, and every loop that plays episodes
    "the server is asked about every observation, and its actions are played": (
        "follow one observation through your loop: which one goes to the server, and where does the "
        "action that comes back go?",
        "two things go wrong most often: the observation that env.step() returns never replaces the "
        "one before it, or one action is asked for and another is played. Print both in each step "
        "of a short episode.",
    ),
    "every reward reaches the server": (
        "count: how often does your loop call env.step(), and how often log_returns()?",
        "the reward of the last step counts as well, also when the episode has ended with it. Look at "
        "what your loop does between env.step() and its own end.",
    ),
    "the episode is ended once, with the last observation": (
        "look at what is done after the loop, and how often it is done.",
        "the server has to hear of the observation after the last action, once, and of whether only "
        "the time was up. Print terminated and truncated where you end the episode.",
    ),
    "the function returns the episode's total reward": (
        "compare what you return with the rewards, added up by hand, of an episode of three steps.",
        "a sum starts somewhere, grows in every step, and is returned after the last one. Which of "
        "the three is not so in your function?",
    ),
    "it plays another environment just as well": (
        "what in your function is true of CartPole only?",
        "other environments pay other rewards than 1, negative ones too, and end after other numbers "
        "of steps. Look for a number in your code that stands for one of them.",
    ),
    "with training_enabled=False nothing is learned from the episode": (
        "your function has a parameter of that name. Where is it used?",
        "only the call that opens an episode can be told. Look at its parameters with "
        "help(client.start_episode).",
    ),
    "greedy episodes to their end, that nobody learns from": (
        "you have a function already that plays an episode as it should be played here.",
        "call your function once for each episode, and tell it that nobody is to learn. What it "
        "returns is what is asked for, in a list.",
    ),
    "the mean of the latest 20 returns decides, and nothing else": (
        "try your function with 19 returns of 200, with 20, and with 100 bad ones before 20 good ones.",
        "two questions in order: are there enough returns? And of the latest ones only, what is the "
        "mean? A slice with a negative start takes the end of a list.",
    ),
    # 02
    "the function returns points won, points lost and steps": (
        "play a game by hand, three or four steps of it, and count along with your function.",
        "three counts start at nothing with the game. What a step pays says whether a point was won, "
        "lost, or neither; and every step is one.",
    ),
    "the function returns the share of points that were won": (
        "a game may have any number of points. Of how many are those that were won?",
        "add up points won and points lost over all games before you divide; games differ in length, "
        "so that a mean of shares is another number.",
    ),
    "the games are the policy's, and the server does not learn from them": (
        "a measurement must not change what it measures. Which argument says so?",
        "look at how your games are started: what does the function that plays one take beside the "
        "environment?",
    ),
    "whole games are played until there are enough steps, and the steps are returned": (
        "who counts the steps, and when is the count looked at?",
        "look at the count between games only: the last game goes on to its end, and counts in full.",
    ),
    "the server learns from every game what happened in it": (
        "look at how a game is started here, and how it was when you measured.",
        "training is what the server does unless it is told otherwise. Is it told otherwise?",
    ),
    # 03
    "every step is logged once, in order, with the action that was taken": (
        "what a log holds is a list of episodes, each a list of steps. Does your code have a loop for "
        "each of the two?",
        "print how many steps the first episode has, and how often you call log_action() for it. The "
        "call takes what was seen and what was done, both from the same step.",
    ),
    "every reward is logged with the step that earned it": (
        "which step do log_returns() and the latest log_action() belong to?",
        "a reward belongs to the latest action that was logged. So what has to come first, and from "
        "which step do both come?",
    ),
    "an episode begins and ends where one of the log does": (
        "how often do you start an episode, and how often end one, for a log of two?",
        "the calls that begin and end an episode stand outside of the loop over its steps, and inside "
        "of the one over episodes. The last step says whether it was only cut short.",
    ),
    "the function returns how many steps there were": (
        "compare with sum(len(episode) for episode in ...), of a log of two episodes.",
        "a count starts once, before all episodes, and is returned after all of them.",
    ),
    "it is the product of the ratios pi / mu, of all steps": (
        "work it out by hand for two steps, and compare.",
        "a product starts at 1, and each step multiplies it by one ratio. Which of the two "
        "probabilities is above the line?",
    ),
    # 04
    "a fresh policy server for every curve, with the run and the seed asked for": (
        "what one server has learned the next curve must not begin with. When is yours started?",
        "the options of the server are keyword arguments; two of your function's own parameters have "
        "to get there.",
    ),
    "whole episodes that train, until there are enough steps": (
        "when is the number of steps looked at: in an episode, or between two?",
        "go on as long as there are fewer steps than asked for, an episode at a time; the last one "
        "may go beyond.",
    ),
    "a row per episode: return, env steps so far, seconds so far, as the server saw them": (
        "print the first three rows. Which of the three numbers does not grow as it should?",
        "one of the numbers is of this episode only, two are of everything so far. The clock starts "
        "when the first episode does.",
    ),
    "report() is told the steps of every episode": (
        "call your function with report=print, and look at what comes.",
        "it is told after each episode, and of that episode: not of all so far.",
    ),
    "mean, spread and number of curves at every episode": (
        "try it with two curves of different lengths, [[1], [2]] and [[3]] as their returns.",
        "at a late episode only some curves are left. Mean and spread are of those, and how many they "
        "are is the third number.",
    ),
    "how many seeds got there": (
        "what does solved_at() return for a curve that never got there?",
        "count the ones that are finite: math.isfinite() knows.",
    ),
    "median episodes and seconds over the seeds": (
        "a median of what? Print the list for one run before you take it.",
        "solved_at() returns two numbers for each curve; take the median of the first ones and that of "
        "the second ones, over all curves of a run.",
    ),
    "the run that needs the fewest of each": (
        "the smallest of a dictionary's values has a key. Which one do you return?",
        "min() takes a key=, a function that says what is to be smallest.",
    ),
    "the runs that learn from logs": (
        "which of the three numbers that a log adds to says that somebody has learned?",
        "look at a run that cannot use logged steps: what do its numbers say that the others' do not?",
    ),
    # 05
    "what is seen and what can be done is what its spaces say, and check_env passes": (
        "print your observation's shape and dtype, and ask env.observation_space.contains(it).",
        "the sentence above names the value that is outside. Either the space is too small for it, or "
        "the value should not have come: which one do you mean?",
    ),
    "the same seed and the same actions make the same episode, at any time": (
        "where does the chance in your environment come from, and who hands out its seed?",
        "reset() hands the seed on to gymnasium, which keeps a generator for you; nothing else may be "
        "random, and nothing may be left over from the episode before.",
    ),
    "every episode ends, and not at once": (
        "what makes an episode of yours end if all actions are random?",
        "beside its natural end an episode can be given a number of steps after which it is cut short.",
    ),
    "what you earn depends on what you do": (
        "play an episode with one action only, then with another: do the sums of rewards differ?",
        "an action has to change what is seen or paid. Follow it through step(): where is it used?",
    ),
    "it plays the environments it is given, as many iterations as it is told": (
        "print the name of the environment, and a line in each iteration.",
        "both are parameters of your function. Is either of them written out as something else in it?",
    ),
    "it returns a greedy policy": (
        "what comes back from your function? Print its type.",
        "what is returned is called with an observation and answers with an action, the same one each "
        "time.",
    ),
    "its policy earns more than random actions": (
        "does the mean return rise from one iteration to the next? Print it in each.",
        "if it rises, more iterations may do; if it does not, look at what step() pays, and whether "
        "an observation shows what has to be known.",
    ),
    "its policy earns more than each action taken throughout": (
        "is there an action that is the best one whatever is seen?",
        "if there is, nothing need be observed: give the environment a situation in which another "
        "action pays more. If there is none, try more iterations.",
    ),
    "the sizes are read from the spaces": (
        "print env.observation_space and env.action_space of two environments.",
        "one space has a shape, the other has a number n.",
    ),
}
