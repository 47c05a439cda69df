"""What a run does: live, replayed, resumed, forked."""
