"""The main job: which model, with which settings, predicts four real data sets best?

`science` asks and answers; it knows scikit-learn and nothing of Blockyard. `graph` hands the questions to a client as
tasks that wait for one another. `watch`, `show` and `picture` present; `chaos` disturbs. Start it with `make run`.
"""
