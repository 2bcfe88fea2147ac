"""The engine beside what people use today, and beside the speed the hardware allows."""
