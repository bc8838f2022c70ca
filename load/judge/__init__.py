"""What came of it: the laws, the thresholds and the knee. Pure: reports in, judgements out.

`verdict` judges any run: the books, grants, cells. `outcome` adds what only a story has: its
thresholds, its attacks, its groups of viewers. `timeline` is the run second by second; `knee` the
last step that was carried. A judge that cannot fail is none: each law has a test that breaks it.
"""
