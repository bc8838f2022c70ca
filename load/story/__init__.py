"""What is to happen: the language of stories, and the plan that a story is.

`language` reads a TOML file and refuses what it does not know with line and key (`place`).
`schedule` is the plan: who does what when, a pure function of story, seed and time; `moods` is how
each feels then; `recordings` are real or synthetic people in CSV files. Nothing here opens a socket
or asks for the time.
"""
