"""What every implementation of a port must do, the fakes included."""
