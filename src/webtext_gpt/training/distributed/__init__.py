"""Training on several processes: devices, launching, ZeRO, gathering weights."""
