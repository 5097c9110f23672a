"""Lines of a batch that share a model and a system prompt run together; otherwise in file order."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_queue.actors.base.cooperation import never_yield, run_steps
from ollama_queue.actors.core.intake.batch_jobs import ENDPOINTS, LineChecks
from ollama_queue.actors.core.intake.run_order import RunOrder, opening_of
from ollama_queue.actors.core.intake.submission import chat_task, embed_task, generate_task
from ollama_queue.actors.core.model.tasks import NewTask

USER = {"role": "user", "content": "Why is the sky blue?"}
Line = tuple[str, str]  # route, system prompt


def turns_of(lines: list[Line]) -> list[int]:
    order = RunOrder()
    for route, system in lines:
        order.add(route, chat_task("m", [USER], system=system))
    return list(run_steps(order.turns(), never_yield))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(("", "p", "q"))), min_size=1))
def test_lines_alike_have_one_turn_and_those_of_a_route_are_neighbours(lines: list[Line]) -> None:
    turns = turns_of(lines) or [0] * len(lines)

    line_at = dict(zip(turns, lines, strict=True))
    assert [line_at[turn] for turn in turns] == lines
    assert sorted(line_at) == list(range(len(set(lines))))
    in_order = [line_at[turn] for turn in sorted(line_at)]
    first_routes = list(dict.fromkeys(route for route, _ in lines))
    assert in_order == sorted(
        dict.fromkeys(lines), key=lambda line: (first_routes.index(line[0]), lines.index(line))
    )


def test_a_file_whose_lines_are_alike_keeps_its_order() -> None:
    assert turns_of([("a", "p")] * 3) == []


def body_of(endpoint: str, system: str, question: str) -> dict[str, Any]:
    message = {"role": "user", "content": question}
    match endpoint:
        case "/v1/messages":
            return {"system": system, "messages": [message], "max_tokens": 5}
        case "/v1/responses":
            return {"instructions": system, "input": question}
        case "/v1/chat/completions":
            return {"messages": [{"role": "developer", "content": system}, message]}
        case "/v1/completions":
            return {"prompt": question}
        case _:
            return {"input": question}


def line_of(endpoint: str, number: int, system: str) -> NewTask:
    body = {"model": "m", **body_of(endpoint, system, f"question {number}")}
    line = {"custom_id": str(number), "method": "POST", "url": endpoint, "body": body}
    return LineChecks(endpoint, 1, None, set()).task(line)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_opening_is_the_system_prompt_at_each_endpoint(endpoint: str) -> None:
    one, like = line_of(endpoint, 1, "Be brief."), line_of(endpoint, 2, "Be brief.")
    other = line_of(endpoint, 3, "Be long.")

    assert opening_of(one) == opening_of(like)
    has_none = endpoint in ("/v1/completions", "/v1/embeddings")
    assert (opening_of(one) == opening_of(other)) == has_none


def test_tools_and_messages_of_the_system_count_and_questions_do_not() -> None:
    system = {"role": "system", "content": "Be brief."}
    tool = {"type": "function", "function": {"name": "look"}}
    plain = chat_task("m", [system, USER])

    assert opening_of(plain) == opening_of(chat_task("m", [system, {**USER, "content": "Why?"}]))
    assert opening_of(plain) != opening_of(chat_task("m", [system, USER], tools=[tool]))
    assert opening_of(plain) != opening_of(chat_task("m", [system, system, USER]))
    assert opening_of(plain) != opening_of(chat_task("m", [USER, system]))
    assert opening_of(generate_task("m", "a")) == opening_of(embed_task("m", ["a", "b"]))
