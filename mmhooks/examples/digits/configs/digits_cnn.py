_base_ = ["_base_/dataset.py", "_base_/schedule.py", "_base_/runtime.py"]
model = dict(type="DigitsNet", channels=32, num_classes=10, dropout=0.2)
