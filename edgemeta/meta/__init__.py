"""The workshop: episodes, backbones, meta-learners. Needs torch; nothing on the device imports it."""
