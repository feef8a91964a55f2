"""The seed of a first boot: what the guest is told, its files, their CD, and the drive for it."""
