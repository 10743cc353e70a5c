"""The long-lived container: what asks for a look (`triggers`), the passes (`loop`), and what people and machines see of them.

`cli.watch` makes it from what `wiring` chooses. It runs the same steps as `plan` and `apply`; nothing here decides what a
change is or how it is sent.
"""
