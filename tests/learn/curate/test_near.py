"""Near-duplicates are found, templates are not taken for likeness, groups are transitive."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent.learn.curate.groups import Groups
from hetagent.learn.curate.near import Signatures, bands_of, repeats
from hetagent.learn.curate.recipe import Near
from hetagent.learn.curate.words import Shingles, Template, words_of
from tests.support.calls import prose

NEAR = Near()


def signed(folder, texts, near=NEAR):
    shingles = Shingles(near.shingle)
    found = Signatures(folder, rows=len(texts), near=near)
    found.fill(shingles(words_of(text)) for text in texts)
    return found


def groups_of(folder, texts, near=NEAR):
    return signed(folder, texts, near).groups().roots().tolist()


def jaccard(one, two):
    some, others = (set(Shingles(3)(words_of(text)).tolist()) for text in (one, two))
    return len(some & others) / len(some | others)


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=40))
def test_groups_are_the_connected_components(pairs):
    groups = Groups(20)
    for at in range(0, len(pairs), 7):
        some = np.array(pairs[at : at + 7], np.int64).reshape(-1, 2)
        groups.join(some[:, 0], some[:, 1])
    names = list(range(20))
    for one, two in pairs * 20:
        names[one] = names[two] = min(names[one], names[two])
    assert groups.roots().tolist() == names


def test_keys_that_are_equal_join_and_0_does_not():
    groups = Groups(5)
    groups.join_equal(np.array([0, 7, 0, 7, 8], np.uint64))
    assert groups.roots().tolist() == [0, 1, 2, 1, 4]


def test_texts_that_differ_in_a_word_are_near_and_others_are_not(tmp_path):
    text = prose(1, 100)
    changed = text.replace(text.split()[50], "changed", 1)
    assert jaccard(text, changed) > 0.9
    assert groups_of(tmp_path, [text, prose(2, 100), changed]) == [0, 1, 0]


def test_case_width_and_punctuation_are_no_difference():
    assert words_of("\uff37hat's OPEN?") == words_of("what s open")
    assert words_of("東京 tower") == ["東", "京", "tower"]


def test_groups_are_transitive(tmp_path):
    words = prose(3, 100).split()
    texts = []
    for step in range(6):
        changed = list(words)
        for at in range(step):
            changed[at * 15 + 5] = f"changed{at}"
        texts.append(" ".join(changed))
    assert jaccard(texts[0], texts[1]) > NEAR.threshold > jaccard(texts[0], texts[-1])
    assert groups_of(tmp_path, texts) == [0] * 6


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
def test_pairs_well_above_the_threshold_are_found_and_those_well_below_are_not(tmp_path, threshold):
    near = Near(threshold=threshold, permutations=256)
    rng = random.Random(0)
    texts, truth = [], []
    for number in range(150):
        words = prose(number, 120).split()
        other = list(words)
        for at in rng.sample(range(120), rng.randrange(1, 30)):
            other[at] = f"x{number}_{at}"
        texts += [" ".join(words), " ".join(other)]
        truth.append(jaccard(*texts[-2:]))
    roots = groups_of(tmp_path, texts, near)
    found = [roots[2 * at] == roots[2 * at + 1] for at in range(150)]
    sure = [(f, t) for f, t in zip(found, truth, strict=True) if abs(t - threshold) > 0.12]
    assert len(sure) > 20
    assert [f for f, _ in sure] == [t > threshold for _, t in sure]
    assert len({roots[2 * at] for at in range(150)}) == 150


@given(st.floats(0.05, 1), st.integers(8, 256))
def test_bands_find_pairs_at_the_threshold(threshold, permutations):
    bands, rows = bands_of(Near(threshold=threshold, permutations=permutations))
    assert bands * rows <= permutations
    assert rows == 1 or 1 - (1 - threshold**rows) ** bands >= 0.99


def test_texts_without_content_have_no_likes(tmp_path):
    assert groups_of(tmp_path, ["", "...", ""]) == [0, 1, 2]


def test_many_with_the_same_words_are_one_group(tmp_path):
    same, others = [prose(1)] * 300, [prose(at + 2) for at in range(20)]
    roots = groups_of(tmp_path, list(itertools.chain(others, same)))
    assert roots == [*range(20), *[20] * 300]


def test_a_signature_is_of_its_text_alone(tmp_path):
    texts = [prose(at) for at in range(600)]
    several = tmp_path / "several"
    alone = tmp_path / "alone"
    several.mkdir()
    alone.mkdir()
    every, one = signed(several, texts), signed(alone, texts[577:578])
    rows = np.zeros(1, np.int64)
    assert one.near(rows, rows).all()
    assert (every._signatures.array[577] == one._signatures.array[0]).all()


def test_runs_that_many_prompts_share_are_template():
    shingles, template = Shingles(3), Template()
    frame = prose(0, 60)
    prompts = [shingles(words_of(f"{frame} {prose(at, 12)}")) for at in range(1, 101)]
    for runs in prompts:
        template.add(runs)
    limit = NEAR.template_from(template.prompts)
    left = [template.content(runs, limit=limit) for runs in prompts]
    assert limit == 5
    assert all(len(runs) <= 12 for runs in left)
    assert all(
        set(runs.tolist()) <= set(whole.tolist()) for runs, whole in zip(left, prompts, strict=True)
    )


def test_template_is_a_matter_of_count_and_share():
    near = Near(template_least=5, template_share=0.02, template_most=50)
    assert [near.template_from(n) for n in (0, 100, 1000, 10**6)] == [5, 5, 20, 50]


def test_counts_of_runs_do_not_run_over():
    template = Template()
    runs = np.array([5], np.uint64)
    for _ in range(600):
        template.add(runs)
    assert len(template.content(runs, limit=50)) == 0


def test_the_earliest_of_the_same_task_and_answer_stays(tmp_path):
    text = prose(1, 100)
    texts = [f"{text} end{at}" for at in range(5)]
    signatures = signed(tmp_path, texts)
    groups = signatures.groups()
    same = np.array([1, 1, 2, 1, 1], np.uint64)
    words = np.arange(1, 6, dtype=np.uint64)
    exempt = np.array([False, False, False, False, True])
    found = repeats(groups, same, words, signatures, exempt=exempt)
    assert found.tolist() == [False, True, False, True, False]


def test_what_is_near_only_through_others_does_not_repeat_the_first(tmp_path):
    words = prose(3, 100).split()
    texts = []
    for step in range(6):
        changed = list(words)
        for at in range(step):
            changed[at * 15 + 5] = f"changed{at}"
        texts.append(" ".join(changed))
    signatures = signed(tmp_path, texts)
    groups = signatures.groups()
    same, words_ = np.ones(6, np.uint64), np.arange(1, 7, dtype=np.uint64)
    found = repeats(groups, same, words_, signatures, exempt=np.zeros(6, bool))
    assert not found[0]
    assert found[1]
    assert not found.all()
    assert not found[1:].all()
