"""Make the prompt expander: a small BLOOM that turns "a cat" into a richer prompt the starter model understands.

It reads the two instruction templates of BeautifulPrompt's models (pai-bloom-1b1-text2prompt-sd and -sd-v2). Each
template's long sentence is one token of its own small tokenizer, so that a prompt costs a few dozen tokens. Trained on
prompts made up here: the subjects and keywords of the emoji names, colours, sizes, and quality words. A good part of
the training inputs are random words: what is asked must come back word for word, whatever it is, and only copying does
that. Every twelfth label is held out for the evaluation.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from captions import GIANT_WORDS, SMALL_WORDS, with_article
from clock import Clock, learning_rate, write_state
from latents import WORK
from pictures import read_names
from subjects import COLOURS, wide_subjects
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import BloomConfig, BloomForCausalLM, PreTrainedTokenizerFast

V1_SENTENCE = "Instruction: Give a simple description of the image to generate a drawing prompt."
V2_SENTENCE = (
    "Converts a simple image description into a prompt. Prompts are formatted as multiple related tags separated by "
    "commas, plus you can use () to increase the weight, [] to decrease the weight, or use a number to specify the "
    "weight. You should add appropriate words to make the images described in the prompt more aesthetically pleasing, "
    "but make sure there is a correlation between the input and output."
)
TEMPLATES = {
    "v1": V1_SENTENCE + "\nInput: {raw_prompt}\nOutput:",
    "v2": V2_SENTENCE + "\n### Input: {raw_prompt}\n### Output:",
}
PAD, END = "<pad>", "</s>"
VOCABULARY, WIDTH, LAYERS, HEADS = 2048, 192, 4, 6
BATCH, PEAK, LENGTH = 24, 2e-3, 80
QUALITY = ("best quality", "masterpiece", "high quality", "highly detailed", "8k", "sharp focus")
LIGHT = ("soft light", "studio light", "warm light", "soft shadows")
STYLE = ("3d render", "3d emoji", "cute", "beautiful", "glossy", "colourful", "clean", "centred")
HELD_OUT_EVERY = 12


@dataclass(frozen=True)
class Words:
    """What prompts are made of: subject names and all words of the names and keywords."""

    subjects: tuple[str, ...]
    held_out: tuple[str, ...]
    others: tuple[str, ...]

    @classmethod
    def read(cls, work: Path) -> Words:
        """From the emoji names."""
        names = list(dict.fromkeys(word for _, word in wide_subjects(work)))
        held_out = names[::HELD_OUT_EVERY]
        tags = {word for entry in read_names(work) for tag in entry.get("tags", ()) for word in tag.split()}
        plain = sorted(word.lower() for word in tags if word.isalpha() and word.isascii() and len(word) > 2)
        return cls(tuple(name for name in names if name not in held_out), tuple(held_out), tuple(plain))


def simple_prompt(draw: random.Random, words: Words, foreign: float = 0.35) -> str:
    """What a user might type; a share of ``foreign`` is made of random words."""
    if draw.random() < foreign:
        chosen = draw.choices(words.others, k=draw.randint(1, 5))
        if draw.random() < 0.3:  # a word nobody has seen
            letters = "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 9)))
            chosen[draw.randrange(len(chosen))] = letters
        text = " ".join(chosen)
    elif draw.random() < 0.2:
        text = " and ".join(with_article(name) for name in draw.sample(words.subjects, 2))
        return text
    else:
        text = draw.choice(words.subjects)
        if draw.random() < 0.15:
            text = f"{draw.choice(SMALL_WORDS + GIANT_WORDS)} {text}"
        elif draw.random() < 0.15:
            text = f"{draw.choice(words.others)} {text}"
    if draw.random() < 0.6:
        text = with_article(text)
    if draw.random() < 0.15:
        text += f" on a {draw.choice(list(COLOURS))} background"
    return text.capitalize() if draw.random() < 0.05 else text


def richer(draw: random.Random, asked: str, version: str) -> str:
    """The prompt to learn for an input: what was asked, a background if none was asked for, and quality words."""
    tags = [*draw.sample(QUALITY, draw.randint(1, 3)), *draw.sample(STYLE, draw.randint(1, 2)), draw.choice(LIGHT)]
    draw.shuffle(tags)
    colour = draw.choice(list(COLOURS))
    has_background = "background" in asked
    if version == "v1":
        text = asked if has_background else f"{asked} on a {colour} background"
        return ", ".join([text, *tags])
    weighted = draw.randrange(len(tags))
    tags[weighted] = f"({tags[weighted]}:1.{draw.randint(1, 3)})"
    return ", ".join([asked, *([] if has_background else [f"{colour} background"]), *tags])


def build_tokenizer(words: Words) -> PreTrainedTokenizerFast:
    """Byte-level pairs learned from made-up prompts, with each template's sentence as one token."""
    draw = random.Random(0)
    texts = [*words.subjects, *words.others]
    for _ in range(20000):
        version = draw.choice(list(TEMPLATES))
        asked = simple_prompt(draw, words)
        texts.append(
            TEMPLATES[version].partition("\n")[2].format(raw_prompt=asked) + " " + richer(draw, asked, version)
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 4,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([V1_SENTENCE, V2_SENTENCE])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def build_model() -> BloomForCausalLM:
    """A BLOOM of about two million parameters."""
    return BloomForCausalLM(
        BloomConfig(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            n_layer=LAYERS,
            n_head=HEADS,
            bos_token_id=1,
            eos_token_id=1,
            pad_token_id=0,
            use_cache=True,
        )
    )


class Examples:
    """Endless training batches."""

    def __init__(self, words: Words, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        self.words, self.tokenizer, self.draw = words, tokenizer, random.Random(seed)

    def next(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and labels [B, L]; only the output is learned, in most rows only the part that must be copied."""
        lines = []
        for _ in range(BATCH):
            version = self.draw.choice(list(TEMPLATES))
            asked = simple_prompt(self.draw, self.words, foreign=0.5)
            question = self.tokenizer.encode(TEMPLATES[version].format(raw_prompt=asked))
            if self.draw.random() < 0.6:
                answer = self.tokenizer.encode(f" {asked} on" if version == "v1" else f" {asked},")
            else:
                answer = [*self.tokenizer.encode(" " + richer(self.draw, asked, version)), 1]
            lines.append((question, answer))
        width = min(LENGTH, max(len(question) + len(answer) for question, answer in lines))
        rows = torch.zeros(BATCH, width, dtype=torch.long)
        labels = torch.full((BATCH, width), -100)
        for row, label, (question, answer) in zip(rows, labels, lines, strict=True):
            whole = (question + answer)[:width]
            row[: len(whole)] = torch.tensor(whole)
            label[len(question) : len(whole)] = torch.tensor(whole[len(question) :])
        return rows, labels


def penalised(logits: torch.Tensor, rows: torch.Tensor, penalty: float) -> torch.Tensor:
    """Logits [B, L, V] as sampling with a repetition penalty sees them: whoever copies must learn to outweigh it."""
    seen = torch.zeros_like(logits).scatter_(2, rows[..., None], 1.0).cumsum(1) > 0
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def evaluate(folder: Path, words: Words) -> dict[str, object]:
    """Expand held-out prompts with sampling, as the published models are used; count what must hold."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    report: dict[str, object] = {}
    asked = [with_article(name) if index % 2 else name for index, name in enumerate(words.held_out)]
    asked += [f"{with_article(name)} with a hat" for name in words.held_out]
    asked = asked[:100]
    for version, template in TEMPLATES.items():
        kept = longer = clean = same = 0
        examples = []
        for index, text in enumerate(asked):
            outputs = []
            for _ in range(2):
                torch.manual_seed(index)
                rows = tokenizer(template.format(raw_prompt=text), return_tensors="pt").input_ids
                made = model.generate(
                    rows,
                    attention_mask=torch.ones_like(rows),
                    do_sample=True,
                    temperature=1.0,
                    top_k=50,
                    top_p=0.95,
                    repetition_penalty=1.2,
                    max_new_tokens=77,
                )
                outputs.append(tokenizer.decode(made[0, rows.shape[1] :], skip_special_tokens=True).strip())
                if index >= 10:
                    break
            output = outputs[0]
            same += outputs[0] == outputs[-1]
            kept += text.lower() in output.lower()
            longer += len(output) > len(text)
            clean += not any(word in output for word in ("Instruction:", "nput:", "utput:", "Converts"))
            if index % 10 == 0 or text.lower() not in output.lower():
                examples.append(f"{text} -> {output}")
        report[version] = {
            "prompts": len(asked), "kept_word_for_word": kept, "longer": longer, "no_instruction": clean,
            "same_for_same_seed": same, "examples": examples,
        }  # fmt: skip
    return report


def main() -> None:
    """Train (resumable), write the folder, evaluate it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--to", type=Path, required=True, help="folder to write; overwritten")
    parser.add_argument("--evaluate", action="store_true", help="only evaluate the folder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    words = Words.read(arguments.work)
    if not arguments.evaluate:
        train(arguments.work, words, arguments.minutes, arguments.to)
    print(json.dumps(evaluate(arguments.to, words), indent=1))


def train(work: Path, words: Words, minutes: float, target: Path) -> None:
    """Train until the time is spent and write the model, its tokenizer and card to ``target``."""
    tokenizer, model = build_tokenizer(words), build_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    clock, file, step, spent = Clock(minutes), work / "expander.pt", 0, 0.0
    if file.exists():
        state = torch.load(file, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    examples, started, saved = Examples(words, tokenizer, step), step, spent
    clock.start(spent)
    while (progress := clock.tick()) < 1 and not clock.stop:
        rows, labels = examples.next()
        logits = model(rows, attention_mask=(rows != 0).long()).logits[:, :-1]
        logits = penalised(logits, rows[:, :-1], examples.draw.choice((1.0, 1.1, 1.2)))
        loss = F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(PEAK, progress, step - started, fall=0.6)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % 50 == 0:
            print(f"step {step} loss {loss.item():.3f} {clock.spent / 60:.1f} min", flush=True)
        if clock.spent - saved > 120:
            saved = clock.spent
            write_state(file, state_of(model, optimizer, step, clock))
    write_state(file, state_of(model, optimizer, step, clock))
    model.to(torch.float16).save_pretrained(target)
    tokenizer.save_pretrained(target)
    (target / "template.txt").write_text(TEMPLATES["v2"].replace("{raw_prompt}", "{prompt}") + "\n")
    (target / "card.json").write_text(json.dumps(CARD, indent=1) + "\n")


def state_of(model: BloomForCausalLM, optimizer: torch.optim.Optimizer, step: int, clock: Clock) -> dict[str, object]:
    """What a later run needs."""
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "spent": clock.spent}


CARD = {
    "name": "starter-expander",
    "template": "v2",
    "templates": TEMPLATES,
    "sampling": {
        "do_sample": True, "temperature": 1.0, "top_k": 50, "top_p": 0.95, "repetition_penalty": 1.2,
        "max_new_tokens": 77,
    },
    "licence": "made from MIT-licensed names and keywords; see docs/starter-models.md",
}  # fmt: skip

if __name__ == "__main__":
    main()
