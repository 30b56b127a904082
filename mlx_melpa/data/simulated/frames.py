"""Sentence frames that carry an attribute (tense, mood, manners) for any act, and slots common to all topics."""

# fmt: off
FRAMES = {
    "question": ["did you {do} {then}?", "when should I {do}?", "can {name} {do} {soon}?", "who is going to {do}?",
                 "do we have to {do} {soon}?", "why did {name} {do}?"],
    "statement": ["I {did} {then}", "{name} will {do} {soon}", "we have to {do} {soon}", "it is my turn to {do}",
                  "{name} told me to {do}", "we {did} with {name}"],
    "past": ["I {did} {then}", "{name} {did} {then}", "{then} we {did}", "they finally {did}",
             "{then} my sister {did}"],
    "future": ["I will {do} {soon}", "{name} is going to {do} {soon}", "{soon} we will {do}",
               "they plan to {do} {soon}", "my sister is about to {do}"],
    "polite": ["could you please {do} {soon}? thank you so much", "I would be grateful if you could {do}",
               "please {do} when you have a moment", "would you be so kind as to {do}?", "thanks for offering to {do}"],
    "rude": ["just {do} already", "how hard is it to {do}, you fool?", "stop whining and {do}",
             "I am sick of asking you to {do}", "are you too lazy to {do}?"],
    "first person": ["I {did} {then}", "I want to {do} {soon}", "my plan is to {do} {soon}", "I forgot to {do}",
                     "it took me hours to {do}"],
    "third person": ["{name} {did} {then}", "she wants to {do} {soon}", "he forgot to {do}", "they were told to {do}",
                     "{name} has no time to {do}"],
    "happy": ["it was lovely to {do} {then}", "I am so glad we {did}", "what a joy to {do}",
              "we {did} and it was great", "{name} smiled all day after we {did}"],
    "unhappy": ["it was horrible to {do} {then}", "I regret that we {did}", "what a waste of time to {do}",
                "we {did} and it was awful", "{name} cried after we {did}"],
    "urgent": ["{do} right now, it cannot wait", "hurry, we must {do} today", "this is urgent: {do} at once",
               "drop everything and {do}", "we have one hour left to {do}"],
    "later": ["no rush, {do} whenever you like", "we can {do} some day", "there is plenty of time to {do}",
              "maybe next year we {do}", "{do} when you are bored, it is not important"],
}
COMMON = {
    "name": ["Anna", "Ben", "Carla", "David", "Emma", "Frank", "Grace", "Hugo", "Ines", "Jack", "Lena", "Omar"],
    "then": ["yesterday", "last week", "on Monday", "this morning", "two days ago", "last night", "on Friday",
             "in May"],
    "soon": ["tomorrow", "next week", "on Sunday", "tonight", "this weekend", "in an hour", "after lunch", "in June"],
    "money": ["20 dollars", "45 dollars", "90 dollars", "150 dollars", "300 dollars", "12 dollars", "75 dollars"],
    "count": ["two", "three", "four", "five", "six", "seven", "ten", "twelve"],
}
ATTRIBUTES = [("question", "statement"), ("past", "future"), ("polite", "rude"), ("first person", "third person"),
              ("happy", "unhappy"), ("urgent", "later")]
# fmt: on
