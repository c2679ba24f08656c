"""Chapter 05 as a whole: it runs, in time, and every number in its text is true."""

import re

import numpy as np
import pytest
import torch
from reference import namespace, prose
from scipy.stats import spearmanr
from torch.nn import functional as F

from autograder.release.build import exercise_infos
from autograder.release.chapters import find_chapter
from autograder.release.source import read
from course_lib import nets
from course_lib.data import breast_cancer, digits, stratified_split
from course_lib.metrics import wilson_interval
from course_lib.train import TrainConfig, evaluate, fit

CHAPTER = find_chapter("05")


def records(execution, mimetype: str) -> list[dict]:
    outputs = [output for cell in execution.node.cells for output in cell.get("outputs", [])]
    return [output.data[mimetype] for output in outputs if mimetype in output.get("data", {})]


def validation_parts() -> list[torch.Tensor]:
    split = digits(seed=0, dtype="float32")
    inner = stratified_split(split.x_train, split.y_train, test_fraction=0.2, seed=0)
    return [torch.from_numpy(part) for part in (inner.x_train, inner.y_train, inner.x_test, inner.y_test)]


def test_the_chapter_has_the_size_that_it_announces():
    infos = exercise_infos(CHAPTER)
    assert len(infos) >= 9
    assert {info.level for info in infos} == {1, 2, 3}
    assert "The exercises take about two hours" in prose("05")
    assert 105 <= sum(info.minutes for info in infos) <= 135


def test_four_bug_hunts_start_from_programs_that_run():
    hunts = [cell.keys["exercise"] for cell in read(CHAPTER.source).cells if "### ELSE BROKEN" in cell.text]
    assert hunts == ["mend_loss", "mend_steps", "mend_predict", "mend_report"]


def test_the_counts_in_the_text_are_those_of_the_data():
    x, _, x_val, _ = validation_parts()
    assert f"learn from {len(x):,} pictures" in prose("05")
    assert f"by the {len(x_val)} of the validation set, and look at the {len(digits(seed=0).x_test)} test pictures" in prose("05")
    assert f"Draw 40 of the {len(x_val)}" in prose("05") and f"the other {len(x_val) - 40} validation pictures" in prose("05")
    assert f"every one of the five seeds answers 112 of {len(breast_cancer(seed=0).x_test)} rows rightly" in prose("05")
    assert wilson_interval(112, 113).percent() == "99.1% (95.2 to 99.8)"
    assert "reaches from 95.2% to 99.8%" in prose("05")


def test_the_floors_of_the_symptoms_table_are_those_of_losses_that_squash_twice():
    sure = torch.tensor([50.0, -50.0])
    floors = F.binary_cross_entropy_with_logits(torch.sigmoid(sure), torch.tensor([1.0, 0.0]), reduction="none")
    assert [f"{floor:.2f}" for floor in floors.tolist()] == ["0.31", "0.69"]
    assert f"{F.cross_entropy((100 * torch.eye(10)).softmax(1), torch.arange(10)).item():.2f}" == "1.46"
    assert f"{np.log(10):.3f}" == "2.303"
    for words in ("below 1.46", "below 0.31 for class 1, 0.69 for class 0", "loss stays at 2.303"):
        assert words in prose("05")


def test_a_default_layer_has_the_variance_that_the_text_gives():
    torch.manual_seed(0)
    assert torch.nn.Linear(400, 300).weight.var().item() * 400 == pytest.approx(1 / 3, rel=0.02)
    assert "PyTorch's own start has variance $1/(3n)$" in prose("05")


@pytest.mark.slow
def test_fifty_layers_with_batch_normalisation_are_still_guessing_after_five_epochs():
    x, y, x_val, y_val = validation_parts()
    torch.manual_seed(0)
    net = nets.deep_net("batch", depth=50)
    fit(net, x, y, TrainConfig(epochs=5))
    assert evaluate(net, x_val, y_val).accuracy < 0.2


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "factor", "below"), [("layer", 0.01, 0.2), ("batch", 10.0, 0.6)])
def test_normalisation_does_not_forgive_every_start(norm, factor, below):
    x, y, x_val, y_val = validation_parts()
    for seed in range(2):
        torch.manual_seed(seed)
        net = nets.deep_net(norm, depth=10)
        with torch.no_grad():
            for module in net.modules():
                if isinstance(module, torch.nn.Linear):
                    module.weight *= factor
        fit(net, x, y, TrainConfig(epochs=5, seed=seed))
        assert evaluate(net, x_val, y_val).accuracy < below


@pytest.mark.slow
def test_softmax_twice_learns_more_slowly_becomes_as_sure_and_never_shows_it():
    names, (x, y, x_val, y_val) = namespace("training", solved=True), validation_parts()

    def trained(epochs, seed, loss):
        weights, history = names["fit"](nets.digit_net, x, y, loss=loss, epochs=epochs, batch_size=32, lr=1e-3, seed=seed)
        told = names["mend_predict"](nets.digit_net, weights, x_val)
        return (told.argmax(1) == y_val).double().mean().item(), told.max(dim=1).values.mean().item(), history["loss"][-1]

    def twice(logits, labels):
        return F.cross_entropy(logits.softmax(1), labels)

    shares = [np.mean([trained(3, seed, loss)[0] for seed in range(3)]) for loss in (twice, F.cross_entropy)]
    assert shares == [pytest.approx(0.70, abs=0.02), pytest.approx(0.83, abs=0.02)] and "reads 70% instead of 83%" in prose("05")
    (_, sure_once, _), (_, sure_twice, shown) = trained(20, 0, F.cross_entropy), trained(20, 0, twice)
    assert sure_twice > sure_once - 0.01 and 1.45 < shown < 1.55


@pytest.mark.slow
def test_on_a_mixed_batch_now_one_mode_of_batch_normalisation_is_better_now_the_other():
    names, (x, y, x_val, y_val) = namespace("training", solved=True), validation_parts()
    gains = []
    for seed in range(5):
        torch.manual_seed(seed)
        weights, _ = names["mend_steps"](nets.norm_net, nets.norm_net().state_dict(), x, y, lr=0.5, steps=100)
        net = nets.norm_net()
        net.load_state_dict(weights)
        with torch.no_grad():
            trains = (net(x_val).argmax(1) == y_val).double().mean().item()
        net.load_state_dict(weights)
        gains.append(trains - evaluate(net, x_val, y_val).accuracy)
    assert max(map(abs, gains)) < 0.02 and min(gains) < 0 < max(gains)


def test_going_on_twice_from_one_checkpoint_gives_the_same_run_twice():
    train_steps, (x, y, _, _) = namespace("training", solved=True)["train_steps"], validation_parts()
    settings = {"batch_size": 32, "lr": 3e-3, "seed": 0}
    part = train_steps(nets.dropout_net, x, y, steps=5, **settings)
    first, second = (train_steps(nets.dropout_net, x, y, part, steps=5, **settings)["weights"] for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_gradients_are_taken_without_marking_the_callers_tensors():
    torch_gradients = namespace("training", solved=True)["torch_gradients"]
    params = {name: torch.randn(*shape) for name, shape in (("weight1", (3, 4)), ("bias1", (4,)), ("weight2", (4, 2)), ("bias2", (2,)))}
    (_, first), (_, second) = (torch_gradients(params, torch.ones(2, 3), torch.tensor([0, 1])) for _ in range(2))
    assert not any(value.requires_grad for value in params.values())
    assert all(torch.equal(first[name], second[name]) for name in params)


def test_without_zero_grad_adams_loss_stays_far_above_where_it_should_be():
    x, y, _, _ = validation_parts()
    last = {}
    for emptied in (True, False):
        torch.manual_seed(0)
        net = nets.digit_net()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(10):
            losses = []
            for batch in torch.randperm(len(x)).split(32):
                if emptied:
                    optimizer.zero_grad()
                loss = F.cross_entropy(net(x[batch]), y[batch])
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        last[emptied] = np.mean(losses)
    assert last[False] > 5 * last[True]


def test_the_parts_of_a_batch_give_the_gradient_of_the_whole_as_the_bonus_says():
    x, y = validation_parts()[:2]
    torch.manual_seed(0)
    net = nets.digit_net()
    grads = []
    for size in (256, 32):
        net.zero_grad()
        for rows, labels in zip(x[:256].split(size), y[:256].split(size), strict=True):
            (F.cross_entropy(net(rows), labels) * len(rows) / 256).backward()
        grads.append(torch.cat([param.grad.flatten() for param in net.parameters() if param.grad is not None]))
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-4, atol=1e-7)


def test_the_students_functions_and_the_librarys_agree():
    names = namespace("training", solved=True)
    x, y, x_val, y_val = validation_parts()
    weights, history = names["fit"](nets.norm_net, x, y, loss=F.cross_entropy, epochs=2, batch_size=64, lr=0.01, validation=(x_val, y_val))
    net = nets.norm_net()
    net.load_state_dict(weights)
    scores = evaluate(net, x_val, y_val)
    assert history["val_loss"][-1] == pytest.approx(scores.loss, rel=1e-4)
    assert history["val_accuracy"][-1] == pytest.approx(scores.accuracy)


@pytest.mark.slow
def test_the_solution_notebook_runs_within_90_seconds_and_two_gigabytes_and_says_nothing_on_stderr(executed):
    execution = executed("05")
    assert execution.seconds <= 90
    assert execution.peak_bytes <= 2 * 2**30
    assert not any(output.output_type == "stream" and output.name == "stderr" for cell in execution.node.cells for output in cell.get("outputs", []))


@pytest.mark.slow
def test_every_check_of_the_solution_notebook_is_solved(executed):
    checks = records(executed("05"), "application/vnd.large-models-check+json")
    assert [record["exercise"] for record in checks] == [info.id for info in exercise_infos(CHAPTER)]
    assert all(record["solved"] for record in checks)


@pytest.mark.slow
def test_the_outcomes_of_the_predictions_are_those_that_the_text_explains(executed):
    truths = {record["prediction"]: float(record["truth"]) for record in records(executed("05"), "application/vnd.large-models-prediction+json")}
    assert truths == {
        "training.accumulate": 12.0,
        "training.softmax_twice": pytest.approx(np.log(np.e + 9) - 1, abs=1e-3),
        "training.half_size": pytest.approx(2.0**-50, rel=1e-3),
        "training.best_of_30": pytest.approx(0.955, abs=0.005),
    }


@pytest.mark.slow
def test_without_zero_grad_a_small_rate_seems_fast_and_a_larger_one_leaps(executed):
    found = {rate: float(executed("05").printed(rf"lr {rate}\s*: .* highest after that: ([\d.]+)")[1].rstrip(".")) for rate in ("0.03", "0.1", "0.3")}
    assert found["0.03"] < 1 and found["0.1"] > 10 and found["0.3"] > 100
    small, large = (executed("05").printed(rf"lr {rate}: mended, last loss ([\d.]+); as found, ([\d.]+)") for rate in ("0.03", "0.3"))
    assert float(small[2]) < float(small[1])  # the found program is faster there
    assert float(large[1]) < 0.1 < 1 < float(large[2])


@pytest.mark.slow
def test_training_mode_makes_dropout_waver_and_batch_normalisation_fail_on_sorted_rows(executed):
    text = executed("05").said
    shares, in_order, right = [], [], []
    for name in ("dropout_net", "norm_net"):
        part = text[text.index(f"{name}: four times") :]
        shares.append({float(word) for word in re.findall(r"([\d.]+)%", part.splitlines()[0])})
        in_order.append(float(re.search(r"sorted by digit, in batches of 16: ([\d.]+)%", part)[1]))  # type: ignore[index]
        right.append(float(re.search(r"in evaluation mode: ([\d.]+)%", part)[1]))  # type: ignore[index]
    assert len(shares[0]) > 1 and max(shares[0]) < right[0]
    assert len(shares[1]) == 1 and abs(min(shares[1]) - right[1]) < 4
    assert in_order[1] < 40 and right[1] > 90


@pytest.mark.slow
def test_the_articles_programs_learn_over_five_seeds(executed):
    tumours = executed("05").printed(r"tumours, 64-32-1: held-out accuracy ([\d.]+)% ± ([\d.]+)")
    assert tumours.groups() == (f"{112 / 113:.1%}".rstrip("%"), "0.0")  # what the text says of the interval
    assert float(executed("05").printed(r"digits, 64-64-10: held-out accuracy ([\d.]+)%")[1]) >= 89


@pytest.mark.slow
def test_the_right_size_survives_fifty_layers_and_the_default_does_not(executed):
    sizes = {
        name: [float(word) for word in executed("05").printed(rf"{name}\s+size after 1, 10, 25, 50 layers: (.*)")[1].split(", ")]
        for name in ("yours", "nn.Linear's")
    }
    assert 0.02 < sizes["yours"][-1] < 20
    assert sizes["nn.Linear's"][-1] < 1e-15
    size, spread = (
        float(word) for word in executed("05").printed(r"with biases, layer 50: size (\S+), spread from picture to picture (\S+)").groups()
    )
    assert size > 0.01 and spread < 1e-6


@pytest.mark.slow
def test_ten_layers_need_the_right_start_and_only_layer_normalisation_fails_at_the_large_rate(executed):
    scores = {}
    for name in ("nn.Linear's start", "the right size", "batch normalisation", "layer normalisation"):
        match = executed("05").printed(rf"{name}\s+validation accuracy by seed\s+lr 0.001: (.*?)\s+lr 0.01: (.*)")
        scores[name] = [[float(word) for word in re.findall(r"([\d.]+)%", group)] for group in match.groups()]
    small = {name: np.mean(pair[0]) for name, pair in scores.items()}
    large = {name: np.mean(pair[1]) for name, pair in scores.items()}
    assert small["nn.Linear's start"] < 75 < 85 < min(small["the right size"], small["batch normalisation"], small["layer normalisation"])
    assert small["batch normalisation"] - large["batch normalisation"] < 8
    assert max(scores["layer normalisation"][1]) < 20
    assert large["batch normalisation"] - large["layer normalisation"] > 60


@pytest.mark.slow
def test_every_means_against_learning_by_heart_helps_on_average_over_five_seeds(executed):
    found = {
        name: float(executed("05").printed(rf"{name}\s+validation accuracy after 80 epochs ([\d.]+)%")[1])
        for name in ("nothing", "weight decay 1", "dropout 0.8")
    }
    assert min(found[name] for name in found if name != "nothing") > found["nothing"] + 4
    losses = {name: float(executed("05").printed(rf"{name}\s+validation .* mean of the last training losses ([\d.]+)")[1]) for name in found}
    assert losses["nothing"] == min(losses.values())
    stopped = executed("05").printed(r"validation accuracy at that epoch: ([\d.]+)%")
    assert float(stopped[1]) > found["nothing"] + 4


@pytest.mark.slow
def test_a_resumed_run_is_the_same_to_the_last_bit_and_one_from_weights_alone_is_not(executed):
    assert float(executed("05").printed(r"everything kept\s+largest difference from the uninterrupted run: (\S+)")[1]) == 0
    assert float(executed("05").printed(r"the weights alone\s+largest difference from the uninterrupted run: (\S+)")[1]) > 1e-3


@pytest.mark.slow
def test_a_small_validation_set_promises_more_than_the_test_set_keeps(executed):
    pattern = r"promise ([\d.]+)%, the 247 others say ([\d.]+)%, the test set says ([\d.]+)%"
    promised, others, kept = (float(word) for word in executed("05").printed(pattern).groups())
    assert promised > others + 4 and promised > kept + 1.5 and "more than four points too high" in prose("05")
    chose, measured = (float(word) for word in executed("05").printed(r"all 287: trial \d+, validation ([\d.]+)%, test ([\d.]+)%").groups())
    assert measured > chose and "does even better on the test set" in prose("05")


@pytest.mark.slow
def test_dropout_and_learning_rate_have_rank_correlations_that_chance_seldom_gives_and_weight_decay_has_not(executed):
    ranks = {
        name: float(executed("05").printed(rf"{name}\s+rank correlation with the score ([+-][\d.]+)")[1])
        for name in ("lr", "dropout", "weight_decay")
    }
    rng = np.random.default_rng(0)
    by_chance = [abs(spearmanr(rng.random(30), rng.random(30))[0]) for _ in range(2000)]
    assert np.quantile(by_chance, 0.95) == pytest.approx(0.36, abs=0.02) and "less than about 0.36" in prose("05")
    assert ranks["lr"] > 0.36 and ranks["dropout"] < -0.36 and abs(ranks["weight_decay"]) < 0.2


@pytest.mark.slow
def test_numpy_and_torch_go_the_same_way_and_the_comparison_came_out_as_told(executed):
    assert float(executed("05").printed(r"largest difference of any weight after 20 steps: (\S+)")[1]) < 1e-5
    names = ("yours, nn.Linear's start", "yours, your start", "yours, Glorot's start", "scikit-learn")
    default, ours, glorot, theirs = (float(executed("05").printed(rf"{name}\s+([\d.]+)% ± ")[1]) for name in names)
    assert min(ours, glorot) - default > 0.5 * (theirs - default) > 0
    assert theirs - min(ours, glorot) < float(executed("05").printed(r"yours, Glorot's start\s+[\d.]+% ± ([\d.]+)")[1])


@pytest.mark.slow
def test_slices_in_memory_are_many_times_faster_than_a_loader(executed):
    loader, slices = (float(executed("05").printed(rf"{name}\s+([\d.]+) ms")[1]) for name in ("DataLoader", "slices"))
    assert loader > 4 * slices
