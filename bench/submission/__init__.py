"""Submissions: a method file that nobody has to trust, through the whole protocol.

source       what the file says and may do, read as a syntax tree and never run
sandbox      bubblewrap: a process without network, with limits, that sees what it is shown
confined     what runs in there
confinement  the trusted side of it: it selects, checks what comes out, and believes no number
audits       what was checked, with value, threshold and verdict
submit       the whole way of a submission
"""
