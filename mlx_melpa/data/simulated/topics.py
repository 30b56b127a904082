"""Topics of simulated people: acts (base and past form), sayings, and the slots in both."""

from collections.abc import Sequence
from configparser import ConfigParser
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .frames import COMMON, FRAMES

T = TypeVar("T")

TEXT = """
[bills]
bill: electricity, water, gas, phone, internet, rent, heating
acts: pay/paid the {bill} bill; argue/argued about the {bill} bill; split/split the {bill} bill with {name}; set/set
  up automatic payment for the {bill} bill; check/checked the meter for the {bill} bill
says: the {bill} bill came to {money}; our {bill} bill is {money} higher than before; the {bill} bill is overdue; they
  charged us {money} twice on the {bill} bill; the {bill} company sent another invoice; half of the {bill} bill is
  mine; a late fee of {money} was added to the {bill} bill
[travel]
city: Rome, Paris, Tokyo, Cairo, Lima, Oslo, Delhi, Boston
acts: book/booked a flight to {city}; pack/packed a suitcase for {city}; renew/renewed a passport for {city};
  find/found a cheap hotel in {city}; change/changed the ticket to {city}
says: the flight to {city} was late; my luggage got lost in {city}; our hotel in {city} has a view of the sea; the
  ticket to {city} costs {money}; the airport in {city} is huge; we land in {city} at noon; a visa for {city} takes a
  month
[weather]
sky: rain, snow, wind, fog, sunshine, hail, heat
acts: watch/watched the {sky} from the window; walk/walked home in the {sky}; read/read the forecast of {sky};
  wait/waited for the {sky} to stop; take/took a coat because of the {sky}
says: the forecast says {sky} all week; so much {sky} for this season; the {sky} came out of nowhere; after the {sky}
  the sky turned grey; there is a warning of {sky} for the coast; it is below zero with {sky}; {count} days of {sky}
  in a row
[health]
ill: headache, fever, cough, sore throat, back pain, rash, cold
acts: see/saw a doctor about the {ill}; take/took a pill for the {ill}; stay/stayed in bed with a {ill}; call/called
  the clinic about the {ill}; rest/rested until the {ill} was gone
says: this {ill} is killing me; the doctor says the {ill} will pass; my {ill} is back again; the {ill} kept me awake;
  the medicine for the {ill} does not work; {name} has a {ill} and a runny nose; {count} days with a {ill}
[cooking]
dish: soup, pasta, curry, roast chicken, pancakes, stew, risotto, omelette
acts: cook/cooked a big pot of {dish}; burn/burnt the {dish}; add/added salt to the {dish}; stir/stirred the {dish};
  taste/tasted the {dish} with a spoon; look/looked up a recipe for {dish}
says: the {dish} needs more pepper; grandma's recipe for {dish} takes {count} onions; the {dish} is in the oven; fry
  the garlic before the {dish}; the {dish} tastes of lemon; the {dish} smells delicious; simmer the {dish} slowly
[football]
team: Lions, Eagles, Rovers, United, Tigers, Wanderers, City
acts: watch/watched the {team} score; beat/beat the {team}; cheer/cheered for the {team}; play/played against the
  {team}; lose/lost to the {team} on penalties
says: the {team} won by {count} goals; the referee robbed the {team}; the {team} goalkeeper is injured; what a penalty
  by the {team}; the {team} lost the cup final; the striker of the {team} was sent off; kick off for the {team}
[school]
subject: maths, history, biology, French, physics, geography, chemistry
acts: study/studied for the {subject} exam; do/did the {subject} homework; miss/missed the {subject} class;
  fail/failed the {subject} test; hand/handed in the {subject} essay
says: the {subject} teacher gave us {count} pages; my grade in {subject} is bad; the {subject} exam is hard; our class
  has no {subject} today; {name} copied my {subject} notes; the {subject} lesson was boring; pupils like {subject}
[shopping]
item: shoes, jacket, dress, jeans, scarf, handbag, sweater
acts: buy/bought a new {item}; return/returned the {item} to the shop; try/tried on the {item}; order/ordered the
  {item} online; compare/compared prices for the {item}
says: the {item} is on sale for {money}; the {item} does not fit me; they sold out of the {item} in my size; the shop
  gave me a refund for the {item}; the {item} comes in blue; a discount on every {item}; the cashier folded the {item}
[music]
tool: guitar, piano, violin, drums, cello, flute, trumpet
acts: practise/practised the {tool}; tune/tuned the {tool}; record/recorded a song on the {tool}; play/played the
  {tool} on stage; listen/listened to the {tool} solo
says: the {tool} sounds out of tune; the band needs a {tool} player; the concert ended with a {tool} solo; this melody
  is written for {tool}; the {tool} lesson has {count} songs; the album has too much {tool}; the {tool} is loud
[gardening]
plant: roses, tomatoes, tulips, carrots, beans, lettuce, herbs
acts: water/watered the {plant}; plant/planted {plant} by the fence; dig/dug a bed for the {plant}; pick/picked the
  {plant}; weed/weeded around the {plant}
says: the {plant} are in bloom; snails ate the {plant}; the soil is too dry for {plant}; the {plant} need more shade;
  {count} rows of {plant} came up; frost killed the {plant}; the compost helps the {plant}
[cars]
part: brakes, engine, battery, tyres, clutch, headlights, wipers
acts: repair/repaired the {part}; bring/brought the car in for the {part}; replace/replaced the {part}; check/checked
  the {part} before the drive; drive/drove with broken {part}
says: the {part} make a strange noise; the mechanic wants {money} for the {part}; the car broke down with its {part};
  a warning light for the {part} is on; new {part} for the old van; the garage is out of {part}; the {part} failed on
  the road
[pets]
pet: dog, cat, rabbit, parrot, hamster, puppy, kitten
acts: feed/fed the {pet}; wash/washed the {pet}; take/took the {pet} to the vet; train/trained the {pet}; play/played
  with the {pet}
says: the {pet} ate my slipper; our {pet} sleeps all day; the {pet} ran away again; the {pet} needs a vaccine; the
  {pet} has {count} toys; fur of the {pet} is all over the sofa; the {pet} is scared of strangers
[work]
paper: report, budget, contract, slides, proposal, schedule, minutes
acts: finish/finished the {paper}; send/sent the {paper} to the boss; present/presented the {paper} to the client;
  print/printed the {paper}; discuss/discussed the {paper} in the meeting
says: the boss wants the {paper} by noon; the meeting about the {paper} was moved; my colleague lost the {paper}; the
  client rejected the {paper}; overtime again for the {paper}; the office printer jammed on the {paper}; sign the
  {paper}
[family]
kin: mother, father, grandmother, uncle, aunt, cousin, brother
acts: visit/visited my {kin}; call/called my {kin}; hug/hugged my {kin}; quarrel/quarrelled with my {kin};
  invite/invited my {kin} to dinner
says: my {kin} sends love; my {kin} is getting married; my {kin} turned {count} times ten; I miss my {kin}; my {kin}
  tells the same story again; everyone came to see my {kin}; the family photo shows my {kin}
[computers]
device: laptop, printer, keyboard, router, tablet, monitor, server
acts: restart/restarted the {device}; update/updated the software on the {device}; plug/plugged in the {device};
  reset/reset the password of the {device}; back/backed up the files on the {device}
says: the {device} shows an error code; the {device} crashed again; a virus is on the {device}; the {device} is
  frozen; the {device} has no connection; the screen of the {device} went black; install the driver for the {device}
[banking]
account: savings, checking, joint, business, credit, student, travel
acts: open/opened a {account} account; close/closed the {account} account; transfer/transferred {money} to the
  {account} account; check/checked the balance of the {account} account; block/blocked the card of the {account}
  account
says: the balance of the {account} account is {money}; the bank froze my {account} account; interest on the {account}
  account fell; a strange withdrawal from the {account} account; the {account} account has a fee of {money}; my
  {account} loan was approved; the pin of my {account} card is wrong
[films]
film: comedy, thriller, western, cartoon, drama, documentary, horror film
acts: watch/watched a {film}; review/reviewed the {film}; fall/fell asleep during the {film}; rent/rented a {film};
  buy/bought tickets for the {film}
says: the actor in the {film} is brilliant; the ending of the {film} made no sense; the {film} won {count} prizes; the
  director of the {film} is famous; the cinema shows a {film}; the plot of the {film} is thin; a sequel to the {film}
[holidays]
feast: Christmas, Easter, New Year, Thanksgiving, Halloween, Diwali, carnival
acts: decorate/decorated the house for {feast}; wrap/wrapped presents for {feast}; light/lit candles for {feast};
  send/sent cards for {feast}; dress/dressed up for {feast}
says: {feast} is my favourite celebration; the lights for {feast} are up; the children sing at {feast}; {feast} was
  cosy; {count} guests came for {feast}; the feast of {feast} lasted all night; we always gather at {feast}
[trains]
line: express, night train, tram, metro, airport bus, local train, ferry
acts: catch/caught the {line}; miss/missed the {line}; wait/waited for the {line}; change/changed to the {line};
  run/ran to the {line}
says: the {line} is {count} minutes late; the {line} was cancelled; no seats on the {line}; a strike stopped the
  {line}; the {line} leaves from platform {count}; the conductor of the {line} was kind; the {line} stopped in a
  tunnel
[restaurants]
food: pizza, sushi, steak, tacos, dumplings, burger, salad
acts: order/ordered the {food}; reserve/reserved a table for {food}; tip/tipped the waiter for the {food}; send/sent
  back the {food}; share/shared the {food} with {name}
says: the waiter forgot the {food}; the menu has {count} kinds of {food}; the {food} was cold when served; the chef
  makes the best {food}; {money} for one {food}; a table for {count} and the {food}; the dessert after the {food}
[fitness]
sport: yoga, swimming, running, boxing, cycling, rowing, climbing
acts: train/trained hard at {sport}; join/joined a {sport} club; skip/skipped {sport}; sweat/sweated through {sport};
  stretch/stretched before {sport}
says: my legs hurt from {sport}; the gym offers {sport}; {count} miles of {sport}; the coach says {sport} builds
  muscle; {sport} burns calories; my best time in {sport}; warm up before {sport}
[books]
book: novel, poem, biography, crime story, diary, fairy tale, comic
acts: read/read the {book}; borrow/borrowed the {book} from the library; write/wrote a {book}; lend/lent the {book} to
  {name}; translate/translated the {book}
says: the author of the {book} is unknown; chapter {count} of the {book} is sad; the library wants the {book} back;
  the hero of the {book} dies; the {book} has torn pages; the {book} is a bestseller; the cover of the {book} is red
[cleaning]
room: kitchen, bathroom, cellar, bedroom, hallway, attic, balcony
acts: mop/mopped the {room}; vacuum/vacuumed the {room}; scrub/scrubbed the floor of the {room}; tidy/tidied the
  {room}; dust/dusted the shelves in the {room}
says: the {room} is covered in dust; a bucket stands in the {room}; the {room} smells of soap; stains all over the
  {room}; the bin in the {room} is full; {name} left a mess in the {room}; the {room} shines now
[housing]
home: flat, cottage, studio, house, loft, villa, bungalow
acts: rent/rented a {home}; sell/sold the {home}; paint/painted the walls of the {home}; move/moved out of the {home};
  view/viewed the {home} with an agent
says: the landlord of the {home} raised the rent; the {home} has {count} rooms; the roof of the {home} leaks; the
  lease of the {home} ends; the neighbours of the {home} are noisy; the mortgage on the {home}; keys of the {home} are
  lost
[parcels]
box: parcel, letter, package, postcard, envelope, crate, delivery
acts: post/posted the {box}; track/tracked the {box}; sign/signed for the {box}; collect/collected the {box} at the
  post office; put/put stamps on the {box}
says: the courier left the {box} outside; the {box} was sent to the wrong address; the {box} arrived open; postage for
  the {box} is {money}; the {box} is stuck in customs; the label of the {box} came off; no {box} in the mailbox
[birthdays]
gift: cake, balloon, present, necklace, teddy bear, bunch of flowers, toy
acts: hide/hid the {gift} for the party; bring/brought a {gift} to the birthday; unwrap/unwrapped the {gift};
  choose/chose a {gift} for {name}; blow/blew out candles near the {gift}
says: the {gift} was a surprise; {name} turns {count} and wants a {gift}; the party had a {gift} for all; one more
  {gift}; happy birthday and enjoy the {gift}; the guests loved the {gift}; the {gift} has {count} candles
[politics]
office: mayor, president, senator, minister, governor, council, party
acts: vote/voted for the {office}; protest/protested against the {office}; write/wrote to the {office}; debate/debated
  with the {office}; support/supported the {office}
says: the {office} won the election; the {office} raised taxes; the {office} broke a promise; a scandal around the
  {office}; the new law of the {office} passed; the speech of the {office} was long; voters trust the {office}
[camping]
gear: tent, sleeping bag, torch, stove, backpack, rope, map
acts: pitch/pitched camp with the {gear}; carry/carried the {gear} up the mountain; dry/dried the {gear} by the fire;
  lose/lost the {gear} in the woods; hike/hiked with the {gear}
says: the {gear} got wet by the river; a bear sniffed at the {gear}; the trail is steep with a {gear}; no {gear} for
  the summit; the {gear} keeps out mosquitoes; under the stars with a {gear}; {count} miles of forest and a {gear}
[painting]
art: portrait, landscape, sculpture, sketch, mural, watercolour, photograph
acts: draw/drew a {art}; frame/framed the {art}; show/showed the {art} in a gallery; mix/mixed colours for the {art};
  admire/admired the {art} in the museum
says: the {art} hangs in the museum; the artist gave the {art} no name; the {art} is too dark; a brush for the {art};
  the {art} sold for {money}; the light in the {art} is soft; the exhibition has {count} of that {art}
[insurance]
cover: car, travel, home, health, dental, life, fire
acts: claim/claimed {money} on the {cover} insurance; cancel/cancelled the {cover} policy; sign/signed the {cover}
  policy; report/reported damage to the {cover} insurer; compare/compared {cover} policies
says: the {cover} insurer refused the claim; my {cover} premium went up; the {cover} policy covers theft; the {cover}
  policy expired; an accident form for the {cover} insurance; the {cover} deductible is {money}; the {cover} agent
  called
[farming]
animal: cows, sheep, pigs, goats, hens, ducks, horses
acts: feed/fed the {animal} at dawn; count/counted the {animal}; lead/led the {animal} to the meadow; sell/sold the
  {animal}; clean/cleaned the barn of the {animal}
says: the {animal} broke the gate; the barn is warm for the {animal}; hay for the {animal} is short; the {animal} are
  grazing; the farmer has {count} {animal}; the tractor woke the {animal}; the harvest feeds the {animal}
[space]
body: moon, red planet, comet, ringed planet, evening star, eclipse, galaxy
acts: look/looked at the {body} through a telescope; photograph/photographed the {body}; measure/measured the {body};
  send/sent a rocket to see the {body}; read/read about the {body}
says: the {body} is bright tonight; the astronauts dream of the {body}; the probe passed the {body}; a satellite maps
  the {body}; scientists found ice near the {body}; the orbit of the {body} is odd; the launch towards the {body}
  failed
"""


@dataclass(frozen=True)
class Topic:
    """One subject: acts as (base, past) phrases, sayings, and the slots in both."""

    name: str
    acts: tuple[tuple[str, str], ...]
    says: tuple[str, ...]
    slots: dict[str, list[str]]

    def message(self, rng: np.random.Generator, frames: str | None = None) -> str:
        """Writes a sentence; `frames` names the attribute it shall have (a key of FRAMES), else any."""
        if frames is None and rng.random() < 0.5:
            return self._fill(one(self.says, rng), rng)
        frame = one(FRAMES[frames or one(list(FRAMES), rng)], rng)
        base, past = one(self.acts, rng)
        return self._fill(frame.replace("{do}", base).replace("{did}", past), rng)

    def _fill(self, pattern: str, rng: np.random.Generator) -> str:
        while "{" in pattern:
            slot = pattern[pattern.index("{") + 1 : pattern.index("}")]
            pattern = pattern.replace(f"{{{slot}}}", one(self.slots[slot], rng), 1)
        return pattern


def one(choices: Sequence[T], rng: np.random.Generator) -> T:
    """Draws one of the choices, each as likely."""
    return choices[int(rng.integers(len(choices)))]


def _forms(act: str) -> tuple[str, str]:
    """Splits "pay/paid the bill" into "pay the bill" and "paid the bill"."""
    verbs, _, rest = act.partition(" ")
    base, past = verbs.split("/")
    return f"{base} {rest}", f"{past} {rest}"


def _read() -> tuple[Topic, ...]:
    table = ConfigParser(interpolation=None, delimiters=":")
    table.read_string(TEXT)
    topics = []
    for name in table.sections():
        entries = {key: value.replace("\n", " ") for key, value in table[name].items()}
        acts = tuple(_forms(act.strip()) for act in entries.pop("acts").split(";"))
        says = tuple(say.strip() for say in entries.pop("says").split(";"))
        slots = {key: [word.strip() for word in words.split(",")] for key, words in entries.items()}
        topics.append(Topic(name, acts, says, COMMON | slots))
    return tuple(topics)


TOPICS = _read()
