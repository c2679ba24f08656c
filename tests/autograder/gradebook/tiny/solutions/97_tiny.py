# A chapter of two quick exercises, for tests of grading.
# %% [markdown] lang="en"
# # Two small things

# %% [markdown] lang="zh"
# # 两件小事

# %%
from autograder import check, predict

# %% predict="guess"
# What is twice 21?
guess = ...


# %% exercise="double" minutes=1 level=1
def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION


# %% check="double"
check("tiny.double", double)

# %%
predict.reveal("tiny.guess", guess=guess, truth=double(21))

# %% train
raise RuntimeError("a cell tagged train is not run in grading")


# %% exercise="largest" minutes=1 level=2
def largest(numbers):
    """The largest of a list that is not empty."""
    ### BEGIN SOLUTION
    return max(numbers)
    ### ELSE BROKEN
    # return max(0, *numbers)
    ### END SOLUTION


# %% check="largest"
check("tiny.largest", largest)

# %% [markdown] essay="why"  points=2
# Why is the largest of no numbers not zero?
