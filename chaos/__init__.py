"""The nemesis: real servers and processes, faults at random, and a checker that shares no code with the product."""
