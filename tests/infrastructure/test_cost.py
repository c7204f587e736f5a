"""The cost model over the real templates: its results, and their dependence on settings."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ops import bulk, counts, templates
from ops.__main__ import application
from ops.cost.deployment import Deployment, instances
from ops.cost.methods import Assumptions, Method, cheapest, methods, ranges
from ops.cost.quantities import amount, dollars
from ops.cost.report import FEW, few_images
from ops.cost.training import runs
from ops.errors import OpsError
from ops.templates import read_assembly
from stacks.config import PROJECT_ROOT, EnvironmentConfig, load_environment, parse_environment
from stacks.shared.prices import price_list

PRICES: dict[str, float] = price_list()["prices"]


@pytest.fixture(scope="session")
def deployment(assembly: Path, environment: str) -> Deployment:
    rendered = read_assembly(assembly).templates
    return Deployment.of({name: t for name, t in rendered.items() if name.startswith(f"{environment}/")})


@pytest.fixture
def choices(deployment: Deployment, environment: str) -> dict[str, Method]:
    made = methods(deployment, load_environment(environment), counts.load(), Assumptions())
    return {method.name: method for method in made}


def test_the_templates_determine_the_idle_cost(deployment: Deployment, environment: str) -> None:
    config = load_environment(environment).endpoint
    assert deployment.endpoint == (config.instance_type, config.instance_count)
    assert deployment.functions["Classifier"] == (0.25, "arm64")
    assert deployment.alarms >= 1
    assert deployment.dashboards == 1
    assert deployment.logs_states


def test_a_bulk_image_costs_a_tenth_of_the_originals_or_less(choices: dict[str, Method]) -> None:
    original = choices["original notebook"].marginal(PRICES)
    assert original == pytest.approx(103e-6, rel=0.01)  # 100e-6 of it for four state transitions
    assert choices["Distributed Map"].marginal(PRICES) <= 0.1 * original
    assert choices["inline Map"].marginal(PRICES) < original


def test_an_idle_environment_costs_its_endpoint_and_what_watches_it(
    choices: dict[str, Method], deployment: Deployment
) -> None:
    assert deployment.endpoint is not None
    instance_type, count = deployment.endpoint
    hours = 730 * count * PRICES[f"sagemaker.instance_hour.{instance_type}"]
    assert hours < choices["Distributed Map"].month(0, PRICES) < hours + 20
    assert choices["Batch Transform"].month(0, PRICES) == 0


def test_an_endpoint_that_cannot_keep_up_is_paid_by_the_hours_it_takes(choices: dict[str, Method]) -> None:
    way = choices["Distributed Map"]
    extra = (way.month(2 * 10**9, PRICES) - way.month(10**9, PRICES)) / 10**9
    assert way.endpoint is not None
    inference = Assumptions().inference_seconds / 3600 * PRICES[f"sagemaker.instance_hour.{way.endpoint[0]}"]
    assert extra == pytest.approx(way.marginal(PRICES) + inference, rel=1e-6)


def test_the_lines_cross_where_the_cheapest_changes(choices: dict[str, Method]) -> None:
    made = list(choices.values())
    found = ranges(made, PRICES)
    assert [entry.method.name for entry in found] == ["Batch Transform", "Distributed Map"]
    crossing = found[1].images
    assert cheapest(made, crossing - 1, PRICES).name == "Batch Transform"
    assert cheapest(made, crossing, PRICES).name == "Distributed Map"


def test_a_larger_batch_costs_less(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    def marginal(size: int) -> float:
        monkeypatch.setattr(EnvironmentConfig, "bulk_batch_size", property(lambda _: size))
        return methods(deployment, load_environment("dev"), counts.load(), Assumptions())[3].marginal(PRICES)

    assert marginal(1) > marginal(10) > marginal(100)
    assert marginal(1) - marginal(100) > 0.99 * PRICES["states.transition"]


def test_a_price_that_is_missing_makes_its_sum_unknown_and_nothing_else(choices: dict[str, Method]) -> None:
    unknown = replace(choices["Batch Transform"], per_image={"sagemaker.instance_hour.ml.x1.huge": 1})
    assert amount(unknown.marginal(PRICES)) == "unknown"
    assert cheapest([unknown, choices["Distributed Map"]], 10, PRICES) is choices["Distributed Map"]
    assert dollars({"sagemaker.instance_hour.ml.x1.huge": 0}, PRICES) == 0


def test_a_thousand_pictures_cost_less_than_a_hundredth_of_the_always_on_endpoint(
    deployment: Deployment, environment: str
) -> None:
    choices = few_images(deployment, load_environment(environment), counts.load(), Assumptions())
    months = {name: method.month(FEW, PRICES) - dollars(method.idle, PRICES) for name, method in choices.items()}
    always_on = months.pop("always-on endpoint, single uploads")
    assert always_on > 80
    assert all(month < always_on / 100 for month in months.values()), months


def test_functions_that_start_are_billed_but_no_more_than_can_grow_cold(choices: dict[str, Method]) -> None:
    single = choices["single uploads"]
    cold = 3 * 0.25 * Assumptions().init_seconds * PRICES["lambda.gb_second.arm64"]
    assert dollars(single.cold, PRICES) == pytest.approx(cold)
    warm = replace(single, cold={})
    assert single.run(1000, PRICES) - warm.run(1000, PRICES) == pytest.approx(1000 * cold)
    assert single.run(10**7, PRICES) - warm.run(10**7, PRICES) == pytest.approx(8760 * cold)


def test_a_serverless_endpoint_is_paid_by_the_second_and_captures_nothing(
    deployment: Deployment, environment: str
) -> None:
    config = load_environment(environment)
    made = methods(deployment.serverless(config.endpoint), config, counts.load(), Assumptions())
    (method,) = [method for method in made if method.name == "inline Map"]
    assert method.per_image["sagemaker.serverless_gb_second"] == pytest.approx(2 * 0.2004)
    assert method.per_image["s3.put"] == 1
    assert method.endpoint is None


def test_an_endpoint_that_is_paused_by_the_clock_is_paid_by_its_hours(deployment: Deployment) -> None:
    config = parse_environment("dev", {"endpoint": {"hours": "mon-fri 08:00-18:00 Europe/Berlin"}})
    paused = deployment.paused_by(config.endpoint)
    (always,), (some,) = instances(deployment).values(), instances(paused).values()
    assert some == pytest.approx(always * 50 / 168)
    made = [methods(each, config, counts.load(), Assumptions())[2] for each in (deployment, paused)]
    price = PRICES["sagemaker.instance_hour.ml.m5.large"]
    assert made[0].month(0, PRICES) - made[1].month(0, PRICES) == pytest.approx((always - some) * price)


@pytest.mark.parametrize(
    ("algorithm", "seconds", "instance_type"),
    [("image-classification", 450, "ml.p3.2xlarge"), ("scikit-learn", 140, "ml.m5.large")],
)
def test_a_retraining_costs_its_training_and_the_evaluation_of_two_models(
    algorithm: str, seconds: float, instance_type: str
) -> None:
    first, again = runs(parse_environment("dev", {"training": {"algorithm": algorithm}}), Assumptions())
    training = seconds / 3600 * PRICES[f"sagemaker.instance_hour.{instance_type}"]
    transform = (240 + 200 * 0.2004) / 3600 * PRICES["sagemaker.instance_hour.ml.m5.large"]
    assert first.dollars(PRICES) == pytest.approx(training + transform)
    assert again.dollars(PRICES) == pytest.approx(training + 2 * transform)
    unknown = parse_environment("dev", {"training": {"instance_types": ["ml.g4dn.2xlarge"]}})
    assert amount(runs(unknown, Assumptions())[0].dollars(PRICES)) == "unknown"


def test_a_key_of_the_environment_s_own_is_paid_by_the_month(deployment: Deployment, environment: str) -> None:
    assert deployment.keys == int(load_environment(environment).customer_managed_key)


def test_every_price_has_a_source_page_and_a_date() -> None:
    content: dict[str, Any] = price_list()
    assert {name.split(".")[0] for name in content["prices"]} == set(content["sources"])
    assert all(url.startswith("https://aws.amazon.com/") for url in content["sources"].values())
    assert content["region"] == "us-east-1"
    assert content["date"] >= "2026-11-25"
    assert dollars({"s3.put": 1000}, PRICES) == pytest.approx(0.005)


@pytest.fixture
def of_the_assembly(assembly: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command takes the templates that are synthesized already."""

    made = read_assembly(assembly)
    of_cdk_json = {**made.only("dev").templates, **made.only("prod").templates}
    monkeypatch.setattr(templates, "synthesize", lambda: replace(made, templates=of_cdk_json))
    monkeypatch.setenv("AWS_REGION", "us-east-1")


def test_the_document_shows_what_the_command_prints(
    of_the_assembly: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = (PROJECT_ROOT / "docs/cost.md").read_text(encoding="utf-8")
    shown = re.search(r"^```\n(USD.*?)^```", document, flags=re.MULTILINE | re.DOTALL)
    assert shown
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    result = CliRunner().invoke(application(), ["cost"], catch_exceptions=False)
    printed = "\n".join(line.rstrip() for line in result.stdout.splitlines())
    assert printed == shown[1].rstrip("\n")


def test_the_page_has_both_charts_with_their_tables_and_needs_no_network(of_the_assembly: None, tmp_path: Path) -> None:
    target = tmp_path / "out/cost.html"
    CliRunner().invoke(application(), ["cost", "--plot", str(target)], catch_exceptions=False)
    html = target.read_text(encoding="utf-8")
    assert re.findall(r'data-plot="(.*?)"', html) == ["months", "services"]
    assert html.count("<table>") == 2
    assert "default-src 'none'" in html
    assert "prefers-color-scheme: dark" in html


# ops bulk


@pytest.mark.parametrize(
    ("images", "prefix", "method", "reason"),
    [
        (5, "scheduled/", "Distributed Map", "Batch Transform: 0.00"),
        (501, "scheduled/", "Distributed Map", "inline Map: takes at most 500 images, there are 501"),
        (10**7, "scheduled/x", "Distributed Map", "takes a prefix that ends with a slash, not 'scheduled/x'"),
    ],
)
def test_bulk_selects_the_cheapest_possible_method_and_gives_the_reason(
    choices: dict[str, Method], images: int, prefix: str, method: str, reason: str
) -> None:
    choice = bulk.choose(list(choices.values()), images, PRICES, prefix=prefix)
    assert choice.method == method
    assert any(reason in line for line in choice.reasons)
    assert not any("original" in line for line in choice.reasons)


def test_a_method_whose_price_is_unknown_is_not_the_cheapest(choices: dict[str, Method]) -> None:
    unknown = {name: replace(method, per_image={"states.unheard": 1}) for name, method in choices.items()}
    unknown["Distributed Map"] = choices["Distributed Map"]
    choice = bulk.choose(list(unknown.values()), 100, PRICES, prefix="test/")
    assert choice.method == "Distributed Map"
    assert "inline Map: unknown USD" in choice.reasons


def test_without_an_endpoint_batch_transform_is_what_is_left(choices: dict[str, Method]) -> None:
    dear = {name: replace(method, per_image={"states.transition": 10}) for name, method in choices.items()}
    dear["Batch Transform"] = choices["Batch Transform"]
    assert bulk.choose(list(dear.values()), 1000, PRICES, prefix="test/").method == "Batch Transform"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bulk", "test/", "--method", "pigeon"], "--method must be one of inline, distributed-map, batch-transform"),
        (["bulk", "bulk/a.csv", "--method", "inline"], "a list of images that only --method distributed-map takes"),
    ],
)
def test_bulk_reports_what_it_cannot_do(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(application(), arguments)
    assert isinstance(result.exception, OpsError)
    assert message in str(result.exception)


@pytest.mark.parametrize(
    ("key", "method"), [("bulk/images.csv", "Distributed Map"), ("bulk/images.manifest", "Batch Transform")]
)
def test_a_list_goes_to_the_method_that_accepts_its_form(key: str, method: str) -> None:
    result = CliRunner().invoke(application(), ["bulk", key, "--dry-run"], catch_exceptions=False)
    assert result.stdout == f"{method}: the only method that takes such a list of images, {key}\n"
