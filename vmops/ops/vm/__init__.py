"""A VM's life on its worker: launch, power, stop, status, and the whole fleet's."""
