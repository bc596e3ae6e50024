//! How to measure: rounds, times, connections, cores, and the programs that help.
//!
//! Owns: the plan of a run and how long it will take. Must never know: results.

use std::time::Duration;

use crate::Outcome;
use crate::generator::{Generator, Load, Order};
use crate::peers::Running;
use crate::place::{Cores, Layout};
use crate::record::PlanFacts;
use crate::scenarios::Scenario;
use crate::syscalls::Counter;

/// Starting and stopping a peer, checking its answers, opening the generator's connections.
const START_STOP: Duration = Duration::from_millis(1_500);

/// Seconds in which a slow peer serves a million requests, for the estimate alone.
const SECONDS_PER_MILLION: f64 = 40.0;

/// How to measure.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    pub(crate) measure: Duration,
    pub(crate) warmup: Duration,
    /// Where neither the scenario nor its case says it.
    pub(crate) connections: u32,
    /// Overrides what scenarios and cases say.
    pub(crate) connections_for_all: Option<u32>,
    /// How long system calls are counted, and by what.
    pub(crate) counting: Duration,
    pub(crate) counter: Option<Counter>,
    /// Only half of Node's capacity, not the whole curve.
    pub(crate) one_rate: bool,
    pub(crate) cores: Cores,
}

impl Plan {
    pub(crate) fn describe(&self) -> String {
        format!(
            "plan      {} rounds of {} s after {} s of warm-up; {} keep-alive connections unless a scenario says \
             otherwise\n",
            self.rounds,
            self.measure.as_secs(),
            self.warmup.as_secs(),
            self.connections_for_all.unwrap_or(self.connections)
        )
    }

    /// What of it belongs into a record.
    pub(crate) fn facts(&self, scenario: &Scenario, generator: &Generator) -> PlanFacts {
        PlanFacts {
            rounds: self.rounds_of(scenario),
            measure_s: self.measure.as_secs(),
            warmup_s: self.warmup.as_secs(),
            warmup_requests: scenario.warmup_requests,
            connections: self.connections_of(scenario),
            workers: scenario.workers,
            generator: generator.version(),
            front_core: self.cores.front,
            worker_core: self.cores.worker,
            counter: self.counter.map(|counter| counter.name().to_owned()),
        }
    }

    pub(crate) fn rounds_of(&self, scenario: &Scenario) -> u32 {
        self.rounds.min(scenario.rounds_max.unwrap_or(u32::MAX))
    }

    pub(crate) fn connections_of(&self, scenario: &Scenario) -> u32 {
        self.connections_for_all.or(scenario.connections).unwrap_or(self.connections)
    }

    /// The shares of Node's capacity to measure at.
    pub(crate) fn rates_of(&self, scenario: &Scenario) -> Vec<f64> {
        let half = |share: &&f64| !self.one_rate || (**share - 0.5).abs() < 1e-9;
        scenario.rates.iter().filter(half).copied().collect()
    }

    /// How long a scenario will take.
    pub(crate) fn estimate(&self, scenario: &Scenario, peers: usize) -> Duration {
        let counting = self.counter.map_or(Duration::ZERO, |_| self.counting);
        let warmup_by_count = scenario.warmup_requests as f64 / 1e6 * SECONDS_PER_MILLION;
        let one = START_STOP
            + self.warmup
            + self.measure
            + counting
            + Duration::from_secs_f64(warmup_by_count);
        let cases = u32::try_from(scenario.cases().len()).unwrap_or(1);
        let rates = u32::try_from(self.rates_of(scenario).len()).unwrap_or(0);
        let one_rate = if rates == 0 { Duration::ZERO } else { START_STOP + self.warmup };
        let of_peer = one * cases + one_rate + self.measure * rates;
        of_peer * self.rounds_of(scenario) * u32::try_from(peers).unwrap_or(1)
    }

    /// Who runs where.
    pub(crate) fn layout(&self, scenario: &Scenario) -> Outcome<Layout> {
        Layout::new(self.cores, scenario.workers)
    }

    /// What the load generator is asked for.
    pub(crate) fn order<'a>(
        &self,
        running: &Running,
        scenario: &'a Scenario,
        duration: Duration,
    ) -> Outcome<Order<'a>> {
        Ok(Order {
            address: running.address,
            load: &scenario.load,
            connections: self.connections_of(scenario),
            duration,
            place: self.layout(scenario)?.load(),
        })
    }

    /// Loads a running peer for a while.
    pub(crate) fn load(
        &self,
        running: &Running,
        scenario: &Scenario,
        generator: &Generator,
        duration: Duration,
    ) -> Outcome<Load> {
        generator.run(self.order(running, scenario, duration)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            rounds: 5,
            measure: Duration::from_secs(3),
            warmup: Duration::from_secs(1),
            connections: 64,
            connections_for_all: None,
            counting: Duration::from_secs(1),
            counter: None,
            one_rate: false,
            cores: Cores { front: 0, worker: 1 },
        }
    }

    #[test]
    fn the_command_line_goes_before_the_scenario_and_that_before_the_usual() {
        let scenario = Scenario::by_name("connections").expect("it is there");
        let case = scenario.in_case(&scenario.cases()[0]);
        assert_eq!(plan().connections_of(&case), 1);
        assert_eq!(Plan { connections_for_all: Some(7), ..plan() }.connections_of(&case), 7);
        let hello = Scenario::by_name("hello").expect("it is there");
        assert_eq!(plan().connections_of(&hello), 64);
        assert_eq!(Plan { one_rate: true, ..plan() }.rates_of(&hello), [0.5]);
    }

    #[test]
    fn long_scenarios_have_few_rounds_and_are_estimated_as_long() {
        let long = Scenario::by_name("long").expect("it is there");
        let (rounds, took) = (plan().rounds_of(&long), plan().estimate(&long, 1));
        assert_eq!(rounds, 1);
        assert!(took > Duration::from_secs(300), "{took:?}");
    }
}
