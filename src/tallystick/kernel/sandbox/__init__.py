"""The sandbox's time: operators move it forward, and what is due in between happens in its order. Test money only."""
