"""Files that are damaged on purpose, and the demand that each is refused in words or is sound.

`running` tries numbered cases in a process of its own, so that crashes, hangs and memory show.
`mutations` damages bytes and values. A module for each kind of file names its cases: `checkpoints`.
"""
