"""The HTTP service and its page.

`server` runs it, `app` puts it together, `config` says what can be set. Folders: `routes` (requests), `models` (answers
and events), `http` (what guards every request), `jobs` (the queue, its store and the child processes), `child` (the
work itself, in a process of its own), `page` (what a browser shows). It imports everything below `cli`; but only
`child` imports what reads workbooks. Begin with `app`.
"""
