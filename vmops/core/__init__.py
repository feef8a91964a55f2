"""Pure values and functions: no IO, no clock, no randomness, no fabric.

By subject:

- what is wanted: `model`, `rules`, `normal`, `tables`, `complaints`, `conflicts`, `hosts_toml`,
  `inventory`, `names`
- what is there: `observed`, `drift`, `status`, `capacity`, `exposure`
- what is to be done: `plan`, `together`, `checks`, `steps`
- how it is written down: `command`, `joint`, `script`, and the shell functions in `library`,
  `fact_library` and `log_library`
- a tool each, its commands and its answers: `ip`, `ovs`, `qemu`, `qmp`, `process`, `logs`, `vnc`,
  `screen`, `keys`, `holders`
- on the operator's side: `pictures`, `viewers`, `harmless`
"""
