"""Submissions: a method file that nobody has to trust, through the whole protocol.

source       what the file says and may do, read as a syntax tree and never run (`rules`, `reach`, `information`)
sandbox      bubblewrap: one process without network, that writes nothing here (`shown`, `syscalls`, `usage`)
confined     what runs in there
confinement  the trusted side of it, which hears what it hands over
desk         where that is judged, and believed as far as it can be checked (`taken`, `trail`, `replay`)
audits       what was checked, with value, threshold and verdict (`honest`: what honest students look like)
entry        the whole way of a submission, and where it lands (`landing`)
"""
