"""Change: a declaration that differs from what is on record is carried out while requests are answered.

`recorded` says what is on record, `project.changes` what is to be done; `rules` is the saga that goes through
with it, `handlers` do its commands, and `views` show it.
"""
