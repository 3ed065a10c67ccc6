//! Random rights, random boards, random doings: whatever a connection receives, its bytes never mention what it may
//! not observe, and its view is always exactly what it may and wants to see.

use std::collections::{BTreeMap, BTreeSet};

use callboard::engine::{Rights, Rules, Verb};
use callboard::limits::Limits;
use callboard::protocol::{Bin, CallOptions, Definition, HelloOptions, Inbox, Message, Text};

use crate::reader::{Reader, WatchFilter, digest};
use crate::rights::{admit, bind, cast, emit, hello_of, principal};
use crate::rng::{Rng, seeds, watched};
use crate::turn::Budgets;
use crate::world::World;

const SEEDS: u64 = 60;
const STEPS: usize = 80;

/// Names that no other contains, so that to look for one in bytes is to look for this one.
const ZONES: &[&str] = &["ab::", "ab::cd::", "ef::", "gh::"];
const PREFIXES: &[&str] = &["", "ab::", "ab::cd::", "ef::", "ef::f", "g", "gh::"];

fn function(zone: usize, number: usize) -> String {
    format!("{}f{number}.", ZONES[zone])
}

fn event(zone: usize, number: usize) -> String {
    format!("{}e{number}.", ZONES[zone])
}

/// The description of a function; as secret as its name.
fn description(name: &str) -> String {
    format!("about <{}>", name.replace("::", "/"))
}

/// A connection whose bytes are searched.
struct Onlooker {
    link: usize,
    principal: usize,
    filter: WatchFilter,
    /// What it may have been sent since the last look: rights that held then and hold now.
    held: Vec<Rules>,
    /// Names that it said itself: the answers may repeat them.
    said: BTreeSet<String>,
}

struct Stage {
    world: World,
    rng: Rng,
    /// Of each onlooking principal, what it may observe.
    observe: Vec<Rules>,
    onlookers: Vec<Onlooker>,
    /// Links of providers, by name, with what each provides and binds.
    providers: Providers,
    /// The same one turn ago.
    before: Providers,
}

type Providers = BTreeMap<usize, (String, BTreeSet<String>)>;

#[test]
fn no_peer_is_sent_a_byte_of_what_may_not_be_observed_whatever_happens() {
    for seed in watched(
        "no_peer_is_sent_a_byte_of_what_may_not_be_observed_whatever_happens",
        seeds(0..SEEDS),
    ) {
        let mut stage = Stage::new(seed);
        for step in 0..STEPS {
            stage.act(step);
            stage.look(seed, step);
        }
    }
}

impl Stage {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let limits = Limits {
            changes_per_second: 0,
            // So that some fall off it.
            log_bytes: 16 * 1024,
            ..Limits::default()
        };
        let observe = (0..3).map(|_| rules(&mut rng)).collect();
        let mut stage = Self {
            world: World::seeded(limits, seed),
            rng,
            observe,
            onlookers: Vec::new(),
            providers: BTreeMap::new(),
            before: BTreeMap::new(),
        };
        stage.admit();
        stage
    }

    /// The rights of all, as they are now.
    fn admit(&mut self) {
        let mut principals = vec![principal("provider", Rights::everything())];
        for (index, rules) in self.observe.iter().enumerate() {
            let rights = Rights::everything().with(Verb::Observe, rules.clone());
            principals.push(principal(&format!("p{index}"), rights));
        }
        admit(&mut self.world, principals);
    }

    fn act(&mut self, step: usize) {
        let (zone, number) = (self.rng.below(ZONES.len()), self.rng.below(4));
        match self.rng.below(14) {
            0 | 1 => {
                let name = format!("owner{step}.");
                let link = self.open("provider", &name, &WatchFilter::new(&[], &[]));
                self.providers.insert(link, (name, BTreeSet::new()));
            }
            2 | 3 => self.onlook(step),
            4..=6 => {
                if let Some(link) = self.provider() {
                    let count = 1 + self.rng.below(3);
                    let names: Vec<String> =
                        (0..count).map(|it| function(zone, number + it)).collect();
                    let texts: Vec<String> = names.iter().map(|name| description(name)).collect();
                    let definitions = names.iter().zip(&texts).map(|(name, text)| Definition {
                        name: Text(name),
                        description: Text(text),
                        metadata: Bin(text.as_bytes()),
                        ..Definition::default()
                    });
                    self.world.register_definitions(link, definitions.collect());
                    self.providers.get_mut(&link).unwrap().1.extend(names);
                }
            }
            7 => {
                if let Some(link) = self.provider() {
                    let has = self.providers[&link].1.clone();
                    if let Some(name) = has.first() {
                        self.world.unregister(link, &[name]);
                        self.providers.get_mut(&link).unwrap().1.remove(name);
                    }
                }
            }
            8 => {
                if let Some(link) = self.provider() {
                    bind(
                        &mut self.world,
                        link,
                        &event(zone, number),
                        &function(self.rng.below(4), number),
                    );
                }
            }
            9 => {
                if let Some(link) = self.provider() {
                    self.providers.remove(&link);
                    self.world.eof(link);
                }
            }
            10 => {
                // Onlookers do what may tell them something.
                if !self.onlookers.is_empty() {
                    let index = self.rng.below(self.onlookers.len());
                    self.probe(index, zone, number);
                }
            }
            11 => {
                if let Some(link) = self.provider() {
                    let id = self.world.request(link);
                    emit(&mut self.world, link, id, &event(zone, number));
                }
            }
            12 => {
                let index = self.rng.below(self.observe.len());
                self.observe[index] = rules(&mut self.rng);
                for onlooker in &mut self.onlookers {
                    if onlooker.principal == index {
                        onlooker.held.push(self.observe[index].clone());
                    }
                }
                self.admit();
            }
            _ => {
                if !self.onlookers.is_empty() {
                    let index = self.rng.below(self.onlookers.len());
                    let gone = self.onlookers.remove(index);
                    self.world.eof(gone.link);
                }
            }
        }
    }

    fn open(&mut self, principal: &str, worker: &str, filter: &WatchFilter) -> usize {
        let link = self.world.open(Reader::new(filter.clone()));
        let frame = hello_of(principal, worker, filter, HelloOptions::default());
        self.world.say(link, &frame);
        link
    }

    fn onlook(&mut self, step: usize) {
        let principal = self.rng.below(self.observe.len());
        let prefix = PREFIXES[self.rng.below(PREFIXES.len())];
        let workers: &[&str] = if self.rng.below(4) > 0 { &[""] } else { &[] };
        let filter = WatchFilter::new(&[prefix], workers);
        let link = self.open(
            &format!("p{principal}"),
            &format!("onlooker{step}."),
            &filter,
        );
        self.onlookers.push(Onlooker {
            link,
            principal,
            filter,
            held: vec![self.observe[principal].clone()],
            said: BTreeSet::new(),
        });
    }

    fn probe(&mut self, index: usize, zone: usize, number: usize) {
        let link = self.onlookers[index].link;
        let name = function(zone, number);
        match self.rng.below(7) {
            0 => {
                let list = ["functions", "workers", "bindings"][self.rng.below(3)];
                let list = format!("engine::{list}::list");
                self.world.call(link, &list, &[], CallOptions::default());
            }
            1 => {
                self.onlookers[index].said.insert(name.clone());
                let definition = Definition {
                    name: Text(&name),
                    exclusive: true,
                    ..Definition::default()
                };
                self.world.register_definitions(link, vec![definition]);
                // Within the turn: the model does not know of it.
                self.world.unregister(link, &[&name]);
            }
            2 => {
                self.onlookers[index].said.insert(name.clone());
                self.world.call(link, &name, b"", CallOptions::default());
            }
            3 => {
                self.onlookers[index].said.insert(name.clone());
                cast(&mut self.world, link, &name);
            }
            4 => {
                let event = event(zone, number);
                self.onlookers[index].said.insert(event.clone());
                let id = self.world.request(link);
                emit(&mut self.world, link, id, &event);
            }
            5 => {
                self.onlookers[index].said.insert(name.clone());
                self.world.unregister(link, &[&name]);
            }
            _ => {
                // Events reach an onlooker that may not see them, through a function that no onlooker may see.
                let own = format!("zz{link}.");
                let event = event(zone, number);
                self.world.register(link, &[&own]);
                if let Some(provider) = self.provider() {
                    bind(&mut self.world, provider, &event, &own);
                    let id = self.world.request(provider);
                    emit(&mut self.world, provider, id, &event);
                }
            }
        }
    }

    fn provider(&mut self) -> Option<usize> {
        let count = self.providers.len();
        (count > 0).then(|| *self.providers.keys().nth(self.rng.below(count)).unwrap())
    }

    /// One turn, and a look at every byte of it.
    fn look(&mut self, seed: u64, step: usize) {
        let world = &mut self.world;
        for link in 0..world.links.len() {
            world.arrive(link, usize::MAX);
        }
        world.finish_turn(Budgets::ALL);
        let down: Vec<Vec<u8>> = world.links.iter().map(|link| link.down.clone()).collect();
        for link in 0..world.links.len() {
            world.receive(link, usize::MAX);
        }
        for onlooker in &mut self.onlookers {
            let may = |name: &str| onlooker.held.iter().any(|rules| rules.allows(name));
            let place = format!("seed {seed}, step {step}, link {}", onlooker.link);
            let bytes = &down[onlooker.link];
            for zone in 0..ZONES.len() {
                for number in 0..8 {
                    for name in [function(zone, number), event(zone, number)] {
                        if may(&name) {
                            continue;
                        }
                        let told = contains(bytes, &name) && !onlooker.said.contains(&name);
                        assert!(!told, "{place}: {name}");
                        assert!(
                            !contains(bytes, &description(&name)),
                            "{place}: about {name}"
                        );
                    }
                }
            }
            // A cast tells its caller's name.
            let hidden = |all: &Providers, link: &usize| {
                all.get(link)
                    .is_none_or(|(_, names)| !names.iter().any(|it| may(it)))
            };
            for (link, (name, _)) in self.before.iter().chain(&self.providers) {
                if hidden(&self.before, link) && hidden(&self.providers, link) && !has_cast(bytes) {
                    assert!(!contains(bytes, name), "{place}: {name}");
                }
            }
            onlooker.held = vec![self.observe[onlooker.principal].clone()];
            check_view(&self.world, &self.providers, onlooker, &place);
        }
        self.before = self.providers.clone();
    }
}

fn has_cast(bytes: &[u8]) -> bool {
    let (mut inbox, mut rest) = (Inbox::default(), bytes);
    while let Some(frame) = inbox.next(&mut rest, 1 << 21).unwrap() {
        if matches!(Message::decode(frame), Ok(Message::Cast(_))) {
            return true;
        }
    }
    false
}

/// What it sees is what it may and wants to see.
fn check_view(world: &World, providers: &Providers, onlooker: &Onlooker, place: &str) {
    let reader = world.reader(onlooker.link);
    if !reader.is_synced() {
        return;
    }
    let rules = &onlooker.held[0];
    let prefix = &*onlooker.filter.functions[0];
    let all: BTreeSet<&String> = providers.values().flat_map(|(_, names)| names).collect();
    let wanted: BTreeMap<String, u64> = all
        .iter()
        .filter(|name| rules.allows(name) && name.starts_with(prefix))
        .map(|name| {
            let text = description(name);
            let definition = Definition {
                name: Text(name),
                description: Text(&text),
                metadata: Bin(text.as_bytes()),
                ..Definition::default()
            };
            ((*name).clone(), digest(&definition))
        })
        .collect();
    assert_eq!(reader.view.functions, wanted, "{place}");
    if onlooker.filter.workers.is_empty() {
        return;
    }
    let mut workers: Vec<(String, BTreeSet<String>)> = Vec::new();
    for (name, provided) in providers.values() {
        let visible: BTreeSet<String> = provided
            .iter()
            .filter(|it| rules.allows(it))
            .cloned()
            .collect();
        if !visible.is_empty() {
            workers.push((name.clone(), visible));
        }
    }
    workers.sort();
    let mut seen: Vec<_> = reader.view.workers.values().cloned().collect();
    seen.sort();
    assert_eq!(seen, workers, "{place}");
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

fn rules(rng: &mut Rng) -> Rules {
    let some = |rng: &mut Rng, most: usize| -> Vec<&'static str> {
        (0..rng.below(most))
            .map(|_| PREFIXES[rng.below(PREFIXES.len())])
            .collect()
    };
    let allow = some(rng, 4);
    // Never quite everything: then workers that only bind are there too, of which the reader knows nothing.
    let deny = some(rng, 3).into_iter().filter(|it| !it.is_empty());
    Rules::new(allow, deny.chain(["zz"]))
}
