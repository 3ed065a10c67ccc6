//! A peer that speaks the protocol byte by byte and keeps no rule it need not: answers that are not its to
//! give, cancels what never was, leaves batches unfinished, reads nothing, or says no HELLO at all. Now and
//! then it breaks the protocol outright. What it says is well known to the model, which reads it too.

use callboard::protocol::{
    Bin, Cancel, Definition, Failure, Hello, HelloOptions, NoExtensions, Outcome, Ping, Ready,
    Register, Text, Unregister, Watch,
};

use crate::journal::saw;
use crate::network::Far;
use crate::worker::Scene;

#[derive(Debug)]
pub(crate) struct Stranger {
    pub wire: u64,
    /// It reads what it is sent.
    reads: bool,
    greeted: bool,
    requests: u64,
    out: Vec<u8>,
}

impl Stranger {
    pub(crate) fn come(scene: &mut Scene<'_>) -> Self {
        let wire = scene.dial(0);
        let mut stranger = Self {
            wire,
            reads: scene.dice.one_in(2),
            greeted: !scene.dice.one_in(6),
            requests: 0,
            out: Vec::new(),
        };
        if stranger.greeted {
            let all = scene.dice.one_in(2).then(|| vec![Text("")]);
            let forged = [7; 16];
            let hello = Hello {
                versions: vec![1],
                name: Text("stranger"),
                namespace: Text(""),
                ext: HelloOptions {
                    watch: Some(Watch {
                        functions: all.clone(),
                        workers: all.clone(),
                        bindings: all,
                    }),
                    session: scene.dice.one_in(3).then_some(Bin(&forged)),
                    capacity: Some(1),
                    ..HelloOptions::default()
                },
            };
            stranger.out = hello.to_frame();
        }
        stranger
    }

    fn request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    /// Says something. `invokes`: ids of calls that run somewhere.
    pub(crate) fn act(&mut self, invokes: &[u64], scene: &mut Scene<'_>) {
        if !self.greeted {
            return;
        }
        let id = match invokes.len() {
            0 => scene.dice.below(9) as u64,
            _ if scene.dice.one_in(5) => (1 << 50) + scene.dice.below(9) as u64,
            _ => scene.dice.pick(invokes),
        };
        let ext = NoExtensions {};
        let frame = match scene.dice.below(24) {
            0..=4 => {
                let (payload, ext) = (
                    Bin(b"forged"),
                    callboard::protocol::OutcomeOptions::default(),
                );
                Outcome { id, payload, ext }.to_frame()
            }
            5..=6 => Failure {
                id,
                code: Text("forged"),
                ..Failure::default()
            }
            .to_frame(),
            7..=9 => Cancel {
                id: scene.dice.below(40) as u64,
                ext,
            }
            .to_frame(),
            10..=11 => Ping {
                revision: 1 << 40,
                ext,
            }
            .to_frame(),
            12 => Ready {
                id: self.request(),
                ext,
            }
            .to_frame(),
            13 => {
                let names = vec![Text("not its own")];
                Unregister {
                    id: self.request(),
                    names,
                    ext,
                }
                .to_frame()
            }
            14..=15 => {
                let definition = Definition {
                    name: Text("s1"),
                    ..Definition::default()
                };
                let functions = vec![definition];
                // Of a batch that never ends, too.
                let more = scene.dice.one_in(2);
                Register {
                    id: self.request(),
                    more,
                    functions,
                    ext,
                }
                .to_frame()
            }
            16 => unknown(63, self.request()),
            17 => unknown(200, 0),
            18 if scene.dice.one_in(3) => {
                saw("a stranger broke the protocol");
                scene.dice.pick(&[
                    b"GET / HTTP/1.1\r\n".to_vec(),
                    vec![0, 0, 0, 2, 0xc1, 0xc1],
                    vec![0, 0, 0, 0],
                ])
            }
            19 if scene.dice.one_in(3) => {
                // A frame that is begun and never ended.
                vec![0, 0, 1, 0, 0x93]
            }
            _ => Vec::new(),
        };
        self.out.extend(frame);
    }

    pub(crate) fn turn(&mut self, scene: &mut Scene<'_>) {
        let wire = scene.wires.get_mut(&self.wire).expect("its own wire");
        if self.reads {
            let _ = wire.down.read(scene.now, usize::MAX);
        }
        let n = wire.up.room().min(self.out.len());
        let arrives = scene.now + scene.dice.between(wire.delay.0..wire.delay.1 + 1);
        wire.up.write(&self.out[..n], arrives);
        self.out.drain(..n);
    }

    /// Whether the engine has dropped it.
    pub(crate) fn is_over(&self, scene: &Scene<'_>) -> bool {
        let wire = &scene.wires[&self.wire];
        wire.far == Far::Gone || wire.down.ended(scene.now).is_some()
    }

    pub(crate) fn leave(&mut self, scene: &mut Scene<'_>) {
        let wire = scene.wires.get_mut(&self.wire).expect("its own wire");
        wire.near_gone = true;
        wire.up.close(scene.now);
        wire.down.cut(0, None);
    }
}

/// A frame of a kind that nobody knows.
fn unknown(kind: u8, id: u64) -> Vec<u8> {
    let mut body = vec![0x92, 0xcc, kind, 0xcf];
    body.extend(id.to_be_bytes());
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend(body);
    frame
}
