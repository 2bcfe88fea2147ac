"""How the tasks of `benchmarks.workloads` are worded: two prompts for each domain of CLINC150.

``{labels}`` stands for the domain's intents, however the wording lists them, and ``{text}`` for
what the user of the assistant said.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """A prompt: a system message, a user message, and how labels are listed."""

    system: str
    user: str
    listed: str = ", "


GENERIC = "You are a helpful assistant."

# Both tasks that share a template have this one, and say in it only which labels there are.
SHARED = Wording(
    "You route requests that come in through the app. Every request has exactly one intent. "
    "Possible intents: {labels}. Never explain yourself.",
    "Request: {text}",
)
# The same, where not even the labels are in it.
SHARED_HIDDEN = Wording(
    "You route requests that come in through the app. Every request has exactly one intent, "
    "one of those that you were trained on. Never explain yourself.",
    "Request: {text}",
)

WORDINGS = {
    "banking": (
        Wording(
            "You are the front desk of a bank. Read the customer's message and name its intent. "
            "The intents you know are: {labels}. Answer with the intent only.",
            "{text}",
        ),
        Wording(
            GENERIC,
            "A client of our bank wrote the message below. Which of these does the client want?\n"
            "- {labels}\n\nMessage: {text}\n\nReply with one item of the list, spelled as above.",
            "\n- ",
        ),
    ),
    "credit_cards": (
        Wording(
            "Classify questions of card holders. Labels:\n{labels}\nOutput one label and nothing "
            "more, in lower case.",
            "Card holder: {text}\nLabel:",
            "\n",
        ),
        Wording(
            "",
            "### Task\nSort the following enquiry about a credit card into one of the classes "
            "[{labels}].\n### Enquiry\n{text}\n### Class",
        ),
    ),
    "kitchen_and_dining": (
        Wording(
            "You help people cook and eat out. Decide what the request is about, choosing from "
            "this list: {labels}. One choice, no other words.",
            "<request>{text}</request>",
        ),
        Wording(
            GENERIC,
            "Here is something that a person said in the kitchen or on the way to a restaurant:\n"
            '"{text}"\nPick the best description of it: {labels}. Write the description only.',
            " | ",
        ),
    ),
    "home": (
        Wording(
            "You are the brain of a smart home. Map each spoken command to a handler. Handlers "
            "available: {labels}. Respond with the handler's name.",
            "Command: {text}",
        ),
        Wording(
            "",
            "Somebody in the house said: {text}\nWhich routine should run? Choose among "
            "{labels} and say nothing but the routine.",
            " / ",
        ),
    ),
    "auto_and_commute": (
        Wording(
            "In-car assistant, intent module. For the driver's utterance, print the matching "
            "intent code. Codes: {labels}.",
            "Driver says: {text}",
            "; ",
        ),
        Wording(
            GENERIC,
            "Utterance: {text}\n\nThe utterance comes from a driver or a commuter. Tag it with one "
            "of the following tags and print the tag: {labels}",
        ),
    ),
    "travel": (
        Wording(
            "As a travel agency's triage bot you assign each enquiry of a traveller to a queue. "
            "Queues: {labels}. Print the queue.",
            "Enquiry: {text}\nQueue:",
        ),
        Wording(
            "You label messages of travellers for statistics. There are these categories:\n"
            "{labels}\nEach message gets exactly one category. Give back the category alone.",
            "{text}",
            "\n",
        ),
    ),
    "utility": (
        Wording(
            "A phone assistant has the functions {labels}. State which function the owner of the "
            "phone asks for; a single name is enough.",
            "Owner: {text}",
        ),
        Wording(
            GENERIC,
            "Match the sentence to a widget of the home screen.\n\nWidgets: {labels}\nSentence: "
            "{text}\n\nWrite down the widget's identifier.",
            ", ",
        ),
    ),
    "work": (
        Wording(
            "You sort tickets for a human resources team. Ticket types are {labels}. For every "
            "ticket, write its type and stop.",
            "Ticket: {text}\nType:",
        ),
        Wording(
            "",
            "An employee asks: {text}\n\nTo which of our office procedures does this question "
            "belong? Procedures: {labels}\nGive only the procedure.",
            " - ",
        ),
    ),
    "small_talk": (
        Wording(
            "The user makes conversation with a robot. Identify the kind of remark, so that the "
            "robot can look up a reply. Kinds of remark: {labels}. Only the kind.",
            "Remark: {text}",
        ),
        Wording(
            "Dialogue act tagger for chit-chat. Tagset = {{{labels}}}. Emit exactly one tag per "
            "turn.",
            "turn: {text}\ntag:",
        ),
    ),
    "meta": (
        Wording(
            "You receive what a person says about the settings and the flow of a voice interface. "
            "Choose the control event: {labels}. Reply by the event's name.",
            "Heard: {text}",
        ),
        Wording(
            GENERIC,
            "Voice interface, control layer. Events are listed between the bars: | {labels} |. "
            "Which event does the phrase trigger?\n\nPhrase: {text}\nEvent:",
            " | ",
        ),
    ),
}

EXTRACT = (
    "You take bookings for a restaurant. Copy out of the guest's message the day, the time, the "
    "number of people and the guest's names, word for word, as JSON. Use null for what is not "
    "there.",
    "The guest was just asked for: {asked}\nGuest: {text}",
)
