"""A controller of a desktop: it looks at the screen, reflects, infers the next task, and acts.

    python gui_control.py --tasks 10

In each step an LLM gathers what is on the screen, judges whether the last action worked, infers
what to do next, and chooses an action, written as a call of a function. After each job it writes
down what it has learned as a skill. The desktop is a small one of texts, in this file.

It uses OpenAI's client and nothing else: OPENAI_BASE_URL says where the LLM is.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass, field
from typing import Any

from openai import OpenAI

GATHER = """You are the eyes of a program that controls a desktop. Read the text of the screen and
note the window that is open, whether a dialog blocks it, the one element that matters most for the
job, and any error that is shown. Answer as JSON."""

REFLECT = """You are the judgement of a program that controls a desktop. You see the screen before
and after an action. Say whether the action did what it was meant to do: success (the screen changed
as it should), failure (it did not), or unclear. Answer with that one word alone."""

INFER = """You are the mind of a program that controls a desktop. Think about the job as a whole:
how far it has come, what stands in the way, and what the very next small task is. Explain in two or
three sentences why this task comes first and what would show that it has been done."""

ACT = """You are the hand of a program that controls a desktop. Choose the one next action and write
it as a call of one of these functions:
click(element)        press a button, open a folder, a program or a list
type_text(element, text)   write text into a field
scroll(direction)     up or down
press(key)            enter, escape or tab
done()                the job is finished
Elements are named as they stand in square brackets on the screen. Answer with the call alone."""

LEARN = """You are the memory of a program that controls a desktop. From the actions that were taken
for a job, write a skill that could be used the next time: a short name, when to use it, and the
steps in general words, without the particulars of this job. At most four sentences."""

SEEN = {
    "type": "object",
    "properties": {
        "window": {"type": "string", "maxLength": 30},
        "dialog": {"type": "boolean"},
        "element": {"type": "string", "maxLength": 30},
        "error": {"type": ["string", "null"], "maxLength": 60},
    },
    "required": ["window", "dialog", "element", "error"],
    "additionalProperties": False,
}

# Each screen: its text, and where a click on an element leads.
SCREENS: dict[str, tuple[str, dict[str, str]]] = {
    "desktop": (
        "Desktop. Programs: [Mail] [Notes] [Settings] [Files] [Calendar]. No window is open.",
        {"mail": "mail", "notes": "notes", "settings": "settings", "files": "files",
         "calendar": "calendar"},
    ),
    "mail": (
        "Mail, inbox. Messages: [Invoice 4471] from the printer, [Lunch] from Oleg, [Survey]. "
        "Buttons: [New message] [Trash] [Close].",
        {"new message": "mail_new", "invoice 4471": "mail_invoice", "lunch": "mail_lunch",
         "trash": "mail_trash", "close": "desktop"},
    ),
    "mail_new": (
        "Mail, new message. Fields: [To] [Subject] [Body]. Buttons: [Send] [Discard].",
        {"send": "mail_sent", "discard": "mail"},
    ),
    "mail_sent": ("Mail. A dialog says: Your message is on its way. [OK]", {"ok": "mail"}),
    "mail_invoice": (
        "Mail, Invoice 4471. 312 euros, due on the 30th. [Reply] [Save attachment] [Back].",
        {"reply": "mail_new", "save attachment": "mail_saved", "back": "mail"},
    ),
    "mail_saved": ("Mail. A dialog says: Saved as invoice-4471.pdf. [OK]", {"ok": "mail"}),
    "mail_lunch": (
        "Mail, Lunch. Oleg asks: Thursday at one? Buttons: [Reply] [Delete] [Back].",
        {"reply": "mail_new", "delete": "mail", "back": "mail"},
    ),
    "mail_trash": (
        "Mail, trash. 48 messages. Buttons: [Empty trash] [Back].",
        {"empty trash": "mail_confirm", "back": "mail"},
    ),
    "mail_confirm": (
        "Mail. A dialog asks: Delete 48 messages for good? [Delete] [Cancel]",
        {"delete": "mail", "cancel": "mail_trash"},
    ),
    "notes": (
        "Notes. Notebook: [Shopping] [Ideas]. Buttons: [New note] [Close].",
        {"new note": "note", "shopping": "note", "ideas": "note", "close": "desktop"},
    ),
    "note": (
        "Notes, an open note. Field: [Text]. Buttons: [Save] [Back].",
        {"save": "notes", "back": "notes"},
    ),
    "settings": (
        "Settings. Sections: [Display] [Sound] [Network]. Buttons: [Close].",
        {"display": "display", "sound": "sound", "network": "network", "close": "desktop"},
    ),
    "display": (
        "Settings, display. Brightness 80 of 100. Switches: [Night light] off, [Dark mode] off. "
        "Buttons: [Apply] [Back].",
        {"apply": "settings", "back": "settings"},
    ),
    "sound": (
        "Settings, sound. Output: speakers. Switches: [Mute] off. Buttons: [Apply] [Back].",
        {"apply": "settings", "back": "settings"},
    ),
    "network": (
        "Settings, network. Not connected. Error: the cable is out. Known: [Attic] [Garden]. "
        "Buttons: [Connect] [Back].",
        {"connect": "network", "attic": "network", "garden": "network", "back": "settings"},
    ),
    "files": (
        "Files, home. Folders: [Photos] [Taxes]. File: [draft.txt]. Buttons: [New folder] [Close].",
        {"photos": "folder", "taxes": "folder", "new folder": "files_new", "close": "desktop"},
    ),
    "files_new": (
        "Files. A dialog asks for a name. Field: [Name]. Buttons: [Create] [Cancel].",
        {"create": "files", "cancel": "files"},
    ),
    "folder": (
        "Files, a folder. 214 files, sorted by name. Buttons: [Sort by date] [Select all] [Back].",
        {"sort by date": "folder", "back": "files"},
    ),
    "calendar": (
        "Calendar, this week. Thursday: nothing. Friday: dentist. Buttons: [New event] [Close].",
        {"new event": "event", "close": "desktop"},
    ),
    "event": (
        "Calendar, new event. Fields: [Title] [Day] [Time]. Buttons: [Save] [Cancel].",
        {"save": "calendar", "cancel": "calendar"},
    ),
}  # fmt: skip

JOBS = [
    "Write to Oleg that Thursday at one is fine.",
    "Save the invoice from the printer.",
    "Switch on the night light.",
    "Make a folder named Receipts.",
    "Put lunch with Oleg into the calendar on Thursday.",
    "Empty the trash of the mail program.",
    "Add oat milk to the shopping note.",
    "Find out why there is no network.",
    "Mute the sound before the meeting.",
    "Look for the newest photo.",
    "Answer the printer that the invoice will be paid on the 28th.",
    "Note down the idea of a shelf made of skis.",
]
MOST_STEPS = 4
_CALL = re.compile(r"(click|type_text|scroll|press|done)\s*\((.*?)\)", re.DOTALL)


@dataclass
class Desktop:
    """The screen, and what has been done to it.

    Attributes:
        name: The screen that is shown.
        typed: What is in its fields.
        done: The actions so far.
    """

    name: str = "desktop"
    typed: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The screen as text."""
        fields = "".join(f" {key} has: {text}." for key, text in self.typed.items())
        return SCREENS[self.name][0] + fields

    def is_field(self, element: str) -> bool:
        """Whether the screen has such a field."""
        text, leads = SCREENS[self.name]
        return f"[{element}]" in text.lower() and element not in leads

    def act(self, function: str, given: list[str]) -> None:
        """Carry out an action; what the screen does not have changes nothing."""
        self.done.append(f"{function}({', '.join(given)})")
        leads = SCREENS[self.name][1]
        element = given[0].strip("[]").lower() if given else ""
        if function == "click" and element in leads:
            self.name = leads[element]
            self.typed = {}
        elif function == "type_text" and len(given) > 1 and self.is_field(element):
            self.typed[element] = given[1]
        elif function == "press" and element == "escape":
            self.name = "desktop"
            self.typed = {}


@dataclass
class Controller:
    """The LLM behind all modules.

    Attributes:
        client: OpenAI's client.
        model: Name of the LLM.
        calls: How many answers it has given.
    """

    client: OpenAI
    model: str
    calls: int = 0

    def ask(self, role: str, content: str, *, tokens: int, **options: Any) -> str:
        """The text that the LLM answers with."""
        answer = self.client.chat.completions.create(
            model=self.model,
            messages=[{"role": "system", "content": role}, {"role": "user", "content": content}],
            max_tokens=tokens,
            temperature=0,
            **options,
        )
        self.calls += 1
        return (answer.choices[0].message.content or "").strip()


def do(controller: Controller, job: str) -> Desktop:
    """Work on a job for a few steps."""
    desktop = Desktop()
    before, judged = "", "none yet"
    for _ in range(MOST_STEPS):
        screen = desktop.text()
        seen = gather(controller, job, screen)
        if desktop.done:
            judged = reflect(controller, desktop.done[-1], before, screen)
        history = "; ".join(desktop.done) or "nothing"
        task = controller.ask(
            INFER, f"Job: {job}\nDone: {history}\nLast action: {judged}\nSeen: {seen}", tokens=44
        )
        function, given = action(controller, job, screen, task)
        before = screen
        if function == "done":
            break
        desktop.act(function, given)
        if len(desktop.done) > 1 and len(set(desktop.done[-2:])) == 1:
            break  # it does the same over and over
    controller.ask(LEARN, f"Job: {job}\nActions:\n" + "\n".join(desktop.done), tokens=56)
    return desktop


def gather(controller: Controller, job: str, screen: str) -> str:
    """What is on the screen, as JSON; the screen itself where the answer was cut short."""
    form = {"type": "json_schema", "json_schema": {"name": "seen", "schema": SEEN}}
    answer = controller.ask(
        GATHER, f"Job: {job}\n\nScreen:\n{screen}", tokens=70, response_format=form
    )
    try:
        return json.dumps(json.loads(answer))
    except ValueError:
        return screen


def reflect(controller: Controller, last: str, before: str, after: str) -> str:
    content = f"Action: {last}\n\nBefore:\n{before}\n\nAfter:\n{after}"
    answer = controller.ask(REFLECT, content, tokens=4).lower()
    return next((one for one in ("success", "failure") if one in answer), "unclear")


def action(controller: Controller, job: str, screen: str, task: str) -> tuple[str, list[str]]:
    """A function and its arguments; scrolling down where the answer is no call."""
    content = f"Job: {job}\n\nScreen:\n{screen}\n\nTask: {task}"
    found = _CALL.search(controller.ask(ACT, content, tokens=24))
    if found is None:
        return "scroll", ["down"]
    given = [one.strip().strip("\"'[]") for one in found[2].split(",", 1)]
    return found[1], [one for one in given if one]


def main() -> None:
    parser = argparse.ArgumentParser(description="Do some jobs on a small desktop.")
    parser.add_argument("--tasks", type=int, default=10, help="how many jobs")
    parser.add_argument("--model", default="gpt-4o-mini", help="the LLM's name")
    options = parser.parse_args()
    controller = Controller(OpenAI(), options.model)
    for job in JOBS[: options.tasks]:
        desktop = do(controller, job)
        print(f"{job}\n  {'; '.join(desktop.done) or 'nothing'}\n  ends at: {desktop.name}")
    print(f"{controller.calls} calls of the LLM")


if __name__ == "__main__":
    main()
