//! What evaluating may cost: steps and bytes, spent while they are used, by one expression and by all of a transaction.

use std::cell::Cell;

use super::fault::Fault;

/// Most steps of one evaluation: an operator, an element of a list that is visited, or 64 bytes of text that are read.
const STEPS: u64 = 200_000;
/// Most bytes that one evaluation may make, intermediate values and the result included.
const BYTES: u64 = 8 * 1024 * 1024;
/// How many evaluations at their limit fit into one transaction.
const EVALUATIONS: u64 = 4;
/// How many transactions with all their expressions a rehearsal may stand for.
const TRANSACTIONS: u32 = 20;

/// Steps and bytes that are left to all evaluations that share it.
#[derive(Debug)]
pub struct Budget {
    steps: Cell<u64>,
    bytes: Cell<u64>,
    /// How many times it can be filled again.
    refills: Cell<u32>,
}

impl Budget {
    /// The budget of a transaction.
    pub fn of_transaction() -> Self {
        Self { steps: Cell::new(STEPS * EVALUATIONS), bytes: Cell::new(BYTES * EVALUATIONS), refills: Cell::new(0) }
    }

    /// The budget of a rehearsal, which stands for several transactions.
    pub fn of_rehearsal() -> Self {
        Self { refills: Cell::new(TRANSACTIONS - 1), ..Self::of_transaction() }
    }

    /// Gives a rehearsal what its next transaction has, as long as there is any left.
    pub fn refill(&self) {
        if self.is_half_spent()
            && let Some(left) = self.refills.get().checked_sub(1)
        {
            let Self { steps, bytes, .. } = Self::of_transaction();
            self.steps.swap(&steps);
            self.bytes.swap(&bytes);
            self.refills.set(left);
        }
    }

    /// The budget of all conditions that one request is judged by.
    pub fn of_request() -> Self {
        Self { steps: Cell::new(STEPS / 4), bytes: Cell::new(BYTES / 4), refills: Cell::new(0) }
    }

    /// Whether what is left is enough to parse so many bytes of source.
    pub fn affords(&self, length: usize) -> bool {
        self.steps.get() >= parsing(length)
    }

    /// Whether less than half of a transaction's is left: what can wait for another transaction should.
    pub fn is_half_spent(&self) -> bool {
        self.steps.get() < STEPS * EVALUATIONS / 2 || self.bytes.get() < BYTES * EVALUATIONS / 2
    }

    /// What one evaluation may spend of it.
    pub fn meter(&self) -> Meter<'_> {
        let (steps, bytes) = (self.steps.get().min(STEPS), self.bytes.get().min(BYTES));
        Meter { budget: self, steps, bytes }
    }
}

/// What one evaluation may still spend. What it spends is gone from the budget as well.
#[derive(Debug)]
pub struct Meter<'b> {
    budget: &'b Budget,
    steps: u64,
    bytes: u64,
}

impl Meter<'_> {
    /// Spends steps.
    pub fn steps(&mut self, steps: u64) -> Result<(), Fault> {
        spend(&mut self.steps, &self.budget.steps, steps).ok_or_else(|| {
            Fault::new("EXPRESSION_COST", "it takes too many steps. Keep lists and texts short, or compute in several script nodes")
        })
    }

    /// Spends what it takes to read so many bytes of text.
    pub fn text(&mut self, length: usize) -> Result<(), Fault> {
        self.steps(length as u64 / 64)
    }

    /// Spends what it took to parse so many bytes of source.
    pub fn parsed(&mut self, length: usize) -> Result<(), Fault> {
        self.steps(parsing(length))
    }

    /// Spends bytes.
    pub fn bytes(&mut self, bytes: usize) -> Result<(), Fault> {
        spend(&mut self.bytes, &self.budget.bytes, bytes as u64)
            .ok_or_else(|| Fault::new("EXPRESSION_COST", "it makes too much text or too long lists. Keep what it makes short"))
    }
}

fn parsing(length: usize) -> u64 {
    length as u64 * 4
}

fn spend(left: &mut u64, budget: &Cell<u64>, amount: u64) -> Option<()> {
    *left = left.checked_sub(amount)?;
    budget.set(budget.get().saturating_sub(amount));
    Some(())
}
