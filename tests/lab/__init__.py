"""The lab is sound: run on this machine, looking into dom0 through the lab's interface."""
