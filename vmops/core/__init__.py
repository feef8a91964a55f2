"""Pure values and functions: no IO, no clock, no randomness, no fabric.

By subject, a room each:

- `inventory`: what is wanted, from hosts.toml
- `script`: steps to one POSIX script, and its output back to results
- `tools`: a tool a module (ip, Open vSwitch, QEMU, QMP, processes, sockets)
- `devices`: a device a module (display, keyboard, screen, seed)
- `facts`: what is asked of a worker, and how the answer is read
- `images`: what images are called on a worker, and how one is sent there
- `plan`: from what is wanted and what is there to what is to be done

`names` computes the names that all of them share.
"""
