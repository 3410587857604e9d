"""Fine-tuning of encoders: on their own (stage adapt) or end to end inside the network (stage finetune)."""
