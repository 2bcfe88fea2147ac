"""A skill over a Ray Data dataset: on one machine or many, with one engine for each actor.

    from hetagent.integrations.ray import map_dataset

    def make_agent() -> Orchestrator:
        return Orchestrator(LlamaCpp("smollm2-135m-instruct", threads=4), concurrency=16)

    done = map_dataset(intent, dataset, agent=make_agent, columns="message", actors=2, num_cpus=4)

A model holds native handles, which cannot travel between processes. So each actor is sent the
function and makes its own agent, once. Within a batch, rows go through `Orchestrator.map`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hetagent.errors import MissingExtraError, SkillError
from hetagent.integrations.arrow import outcome_schema, outcome_table
from hetagent.orchestrator import Orchestrator
from hetagent.skill import Skill

__all__ = ["map_dataset"]


def map_dataset(
    skill: Skill[Any, Any],
    dataset: Any,
    *,
    agent: Callable[[], Orchestrator],
    columns: str | Mapping[str, str] | None = None,
    prefix: str = "",
    actors: int | tuple[int, int] = 1,
    batch_size: int = 64,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    **options: Any,
) -> Any:
    """Run a skill over a dataset.

    A row that cannot be used, or that no model answers, gets a reason and no value; the others go
    on.

    Args:
        skill: The skill; it is sent to the actors, and so must not have a model of its own that
            cannot be.
        dataset: A ``ray.data.Dataset``.
        agent: Makes the orchestrator; called once in each actor.
        columns: The column of each input, by parameter; parameters left out have their default.
            For a skill of one parameter, the column's name. By default every parameter is taken
            from the column of its own name.
        prefix: Put before the names of the new columns.
        actors: How many actors, each with an engine of its own; a pair for the least and the most
            of a pool that grows with the work.
        batch_size: Rows an actor is given at once; the orchestrator's ``concurrency`` says how
            many of them are under way together.
        num_cpus: CPUs to reserve for each actor; Ray's own default is 1. Give the model as many
            ``threads``.
        num_gpus: GPUs to reserve for each actor.
        options: Further options of ``Dataset.map_batches``, such as ``memory``.

    Returns:
        A dataset with the same rows, and beside their columns ``value``, ``confidence``,
        ``outside``, ``served_by``, ``reason``, ``error``, ``fields``, ``choices``,
        ``prompt_tokens``, ``cached_tokens``, ``completion_tokens``, ``cost_usd``, ``seconds`` and
        ``trace_id``, as in `Outcome`. A value is a column of its own type where Arrow has one, and
        JSON text otherwise; ``fields`` and ``choices`` are JSON text.

    Raises:
        MissingExtraError: Ray is not installed.
        SkillError: An argument cannot be used, or cannot be sent to another process.
    """
    data = _import_ray_data()
    least, most = actors if isinstance(actors, tuple) else (actors, actors)
    if not 1 <= least <= most or batch_size < 1:
        raise SkillError(
            f"actors={actors!r} or batch_size={batch_size!r} is out of range.",
            hint="Both are at least 1; a pair of actors is the least and the most.",
        )
    if not isinstance(dataset, data.Dataset):
        raise SkillError(
            f"{type(dataset).__name__} is not a Ray Data dataset.",
            hint="Make one: ray.data.from_items(...), ray.data.read_parquet(...).",
        )
    _refuse_unsendable(skill, agent)
    return dataset.map_batches(
        _Worker,
        fn_constructor_args=(skill, agent, _by_parameter(skill, columns), prefix),
        batch_format="pyarrow",
        batch_size=batch_size,
        compute=data.ActorPoolStrategy(min_size=least, max_size=most),
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        udf_modifying_row_count=False,
        **options,
    )


class _Worker:
    """One actor: an agent of its own, called with one batch after another."""

    def __init__(
        self,
        skill: Skill[Any, Any],
        agent: Callable[[], Orchestrator],
        columns: Mapping[str, str],
        prefix: str,
    ) -> None:
        made = agent()
        if not isinstance(made, Orchestrator):
            raise SkillError(
                f"agent() returned a {type(made).__name__}.",
                hint="It must make and return an Orchestrator.",
            )
        self._skill = skill
        self._agent = made.with_options(progress=False)
        self._columns = columns
        self._prefix = prefix
        self._schema = outcome_schema(skill.output)

    def __call__(self, batch: Any) -> Any:
        """The batch with its outcomes beside it."""
        taken = sorted(
            {self._prefix + name for name in self._schema.names} & set(batch.column_names)
        )
        if taken:
            raise SkillError(
                f"The dataset has columns named {', '.join(taken)} already.",
                hint="Give map_dataset(prefix=...) so that no column is lost.",
            )
        outcomes = self._agent.map(self._skill, self._rows(batch))
        table = outcome_table(self._skill.output, outcomes, self._schema)
        for name in table.column_names:
            batch = batch.append_column(self._prefix + name, table[name])
        return batch

    def _rows(self, batch: Any) -> list[Any]:
        missing = sorted(set(self._columns.values()) - set(batch.column_names))
        if missing:
            raise SkillError(
                f"The dataset has no column {', '.join(map(repr, missing))}; it has "
                f"{', '.join(map(repr, batch.column_names))}.",
                hint="Name the column of each input: columns={'parameter': 'column'}.",
            )
        values = {name: batch[column].to_pylist() for name, column in self._columns.items()}
        if len(self._skill.parameters) == 1:
            return next(iter(values.values()))
        return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def _by_parameter(
    skill: Skill[Any, Any], columns: str | Mapping[str, str] | None
) -> dict[str, str]:
    """The column of each parameter that has one."""
    if isinstance(columns, str):
        if len(skill.parameters) != 1:
            raise SkillError(
                f"{skill.name} takes {', '.join(skill.parameters)}, and columns is one name.",
                hint="Give a dict from parameter to column.",
            )
        return {skill.parameters[0]: columns}
    strangers = sorted(set(columns or ()) - set(skill.parameters))
    if strangers:
        raise SkillError(
            f"{skill.name} has no parameter {', '.join(map(repr, strangers))}.",
            hint=f"It takes {', '.join(skill.parameters)}.",
        )
    if columns is None:
        return {name: name for name in skill.parameters}
    if not columns:
        raise SkillError("columns names no input.", hint="Leave it out, or name a column.")
    return dict(columns)


def _refuse_unsendable(skill: Skill[Any, Any], agent: Any) -> None:
    from ray import cloudpickle

    if not isinstance(skill, Skill):
        raise SkillError(f"{skill!r} is not a skill.", hint="Decorate it with @skill.")
    if isinstance(agent, Orchestrator) or not callable(agent):
        raise SkillError(
            "agent is not a function that makes an orchestrator."
            if not isinstance(agent, Orchestrator)
            else "agent is an orchestrator, whose models cannot be sent to another process.",
            hint="Give a function that makes it there: "
            'agent=lambda: Orchestrator(LlamaCpp("smollm2-135m-instruct")).',
        )
    for thing, name, hint in (
        (skill, f"The skill {skill.name}", "Give its model to the orchestrator that agent makes."),
        (agent, "agent", "Make models inside of it, and let it refer to none outside."),
    ):
        try:
            cloudpickle.dumps(thing)
        except Exception as error:  # whatever an object's own pickling raises
            raise SkillError(
                f"{name} cannot be sent to another process: {error}", hint=hint
            ) from error


def _import_ray_data() -> Any:
    try:
        import pyarrow  # noqa: F401  # ray without its data extra
        import ray.data
    except ImportError as error:
        raise MissingExtraError("ray[data]", extra="ray") from error
    return ray.data
