//! Writes programs from their end to their beginning. A classic BPF program only jumps forwards, so whatever an
//! instruction jumps to is written already, and how far it is away is known; where that is more than the 255
//! instructions that a test can skip, a step in between is put in.

use crate::Endianness;
use crate::conditions::{Branch, Comparison, Node, Test};
use crate::program::{
    AND, IF_EQUAL, IF_GREATER, IF_GREATER_OR_EQUAL, JUMP, LOAD, OFFSET_ARGUMENTS, RETURN, SockFilter,
};

/// Something to jump to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(usize);

/// What a label stands for, and the place nearest to the beginning that leads to it.
struct Target {
    /// What is returned there, if that is all: then a second copy does as well as a jump.
    returned: Option<u32>,
    at: Option<usize>,
}

/// The word in the accumulator and the mask that was applied to it; `None` if it depends on where we come from.
type Accumulator = Option<(u32, u32)>;

pub(crate) struct Assembler {
    /// The program, the last instruction first.
    reversed: Vec<SockFilter>,
    targets: Vec<Target>,
    endianness: Endianness,
}

/// As many instructions a test can skip.
const REACH: usize = u8::MAX as usize;

impl Assembler {
    pub(crate) fn new(endianness: Endianness) -> Self {
        Self { reversed: Vec::with_capacity(512), targets: Vec::with_capacity(128), endianness }
    }

    pub(crate) fn finish(mut self) -> Vec<SockFilter> {
        self.reversed.reverse();
        self.reversed
    }

    pub(crate) fn returns(&mut self, returned: u32) -> Label {
        let known = self.targets.iter().position(|target| target.returned == Some(returned));
        known.map_or_else(|| self.label(Target { returned: Some(returned), at: None }), Label)
    }

    /// Compares the accumulator.
    pub(crate) fn test(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Label {
        // One less, because the second may need a step, which comes between.
        self.bring_near(yes, REACH - 1);
        self.bring_near(no, REACH);
        let (jt, jf) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.push(SockFilter { code, jt, jf, k })
    }

    /// Loads a word of the call.
    pub(crate) fn load(&mut self, offset: u32, then: Label) -> Label {
        self.bring_near(then, 0);
        self.push(SockFilter { code: LOAD, jt: 0, jf: 0, k: offset })
    }

    /// The tests of one call; what none of them decides goes on at `next`.
    pub(crate) fn nodes(&mut self, nodes: &[Node], next: Label) -> Label {
        self.list(nodes, next, None, &mut Vec::new())
    }

    fn list<'a>(
        &mut self,
        nodes: &'a [Node],
        next: Label,
        accumulator: Accumulator,
        written: &mut Written<'a>,
    ) -> Label {
        let same = |known: &&(&[Node], Label, Accumulator, Label)| {
            known.0 == nodes && known.1 == next && known.2 == accumulator
        };
        if let Some((_, _, _, label)) = written.iter().find(same) {
            return *label;
        }
        let mut label = next;
        for (index, node) in nodes.iter().enumerate().rev() {
            let accumulator = match index.checked_sub(1) {
                None => accumulator,
                Some(before) => self.left_behind(&nodes[before]),
            };
            label = self.node(node, label, accumulator, written);
        }
        written.push((nodes, next, accumulator, label));
        label
    }

    fn node<'a>(
        &mut self,
        node: &'a Node,
        next: Label,
        accumulator: Accumulator,
        written: &mut Written<'a>,
    ) -> Label {
        match outcome(node.test) {
            Some(true) => self.branch(&node.yes, next, accumulator, written),
            Some(false) => self.branch(&node.no, next, accumulator, written),
            None => {
                let wanted = (self.offset(node.test), node.test.mask);
                let no = self.branch(&node.no, next, Some(wanted), written);
                let yes = self.branch(&node.yes, next, Some(wanted), written);
                let code = match node.test.comparison {
                    Comparison::Equal | Comparison::MaskedEqual => IF_EQUAL,
                    Comparison::Greater => IF_GREATER,
                    Comparison::GreaterOrEqual => IF_GREATER_OR_EQUAL,
                };
                let test = self.test(code, node.test.value, yes, no);
                self.fill(wanted, accumulator, test)
            }
        }
    }

    fn branch<'a>(
        &mut self,
        branch: &'a Branch,
        next: Label,
        accumulator: Accumulator,
        written: &mut Written<'a>,
    ) -> Label {
        match branch {
            Branch::Next => next,
            Branch::Return(returned) => self.returns(*returned),
            Branch::Nodes(nodes) => self.list(nodes, next, accumulator, written),
        }
    }

    /// Puts a word into the accumulator unless it is there.
    fn fill(&mut self, wanted: (u32, u32), accumulator: Accumulator, then: Label) -> Label {
        let (offset, mask) = wanted;
        if accumulator == Some(wanted) {
            return then;
        }
        let mut then = then;
        if mask != u32::MAX {
            then = self.push(SockFilter { code: AND, jt: 0, jf: 0, k: mask });
        }
        if accumulator == Some((offset, u32::MAX)) { then } else { self.load(offset, then) }
    }

    /// What is in the accumulator when a node has decided nothing.
    fn left_behind(&self, node: &Node) -> Accumulator {
        let nested = matches!(node.yes, Branch::Nodes(_)) || matches!(node.no, Branch::Nodes(_));
        (!nested && outcome(node.test).is_none()).then(|| (self.offset(node.test), node.test.mask))
    }

    fn offset(&self, test: Test) -> u32 {
        let second = test.word.high == (self.endianness == Endianness::Little);
        OFFSET_ARGUMENTS + 8 * u32::from(test.word.argument) + 4 * u32::from(second)
    }

    /// How many instructions the next one would have to skip.
    fn distance(&self, label: Label) -> usize {
        self.targets[label.0].at.map_or(usize::MAX, |at| self.reversed.len() - 1 - at)
    }

    /// Sees to it that the next instruction has to skip no more than that.
    fn bring_near(&mut self, label: Label, reach: usize) {
        let distance = self.distance(label);
        if distance <= reach {
            return;
        }
        let step = match self.targets[label.0].returned {
            Some(k) => SockFilter { code: RETURN, jt: 0, jf: 0, k },
            None => SockFilter { code: JUMP, jt: 0, jf: 0, k: distance as u32 },
        };
        self.targets[label.0].at = Some(self.reversed.len());
        self.reversed.push(step);
    }

    fn push(&mut self, instruction: SockFilter) -> Label {
        let at = Some(self.reversed.len());
        self.reversed.push(instruction);
        self.label(Target { returned: None, at })
    }

    fn label(&mut self, target: Target) -> Label {
        self.targets.push(target);
        Label(self.targets.len() - 1)
    }
}

/// Lists that are in the program, where they go on, what they found in the accumulator, and where they are.
type Written<'a> = Vec<(&'a [Node], Label, Accumulator, Label)>;

/// What comes of a test whatever the word is.
const fn outcome(test: Test) -> Option<bool> {
    match test.comparison {
        Comparison::Equal | Comparison::MaskedEqual if test.mask == 0 => Some(true),
        Comparison::Greater if test.value == u32::MAX => Some(false),
        Comparison::GreaterOrEqual if test.value == 0 => Some(true),
        _ => None,
    }
}
