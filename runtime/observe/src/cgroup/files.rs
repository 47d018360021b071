//! What v1 and v2 spell alike.

use plim_model::Observed;
use plim_model::cgroup::Pids;
use plim_model::parse::cgroup::{limit, single};
use plim_model::rlimit::Limit;

use super::Chain;
use super::chain::{Directory, effective, smallest};

/// `pids.max` and `pids.current`.
pub(super) fn pids(chain: &Chain) -> Pids {
    let levels = chain.levels("pids.max", limit);
    Pids {
        max: levels[0].max.clone(),
        effective_max: effective(&levels),
        current: chain.own().file("pids.current", single),
        levels,
    }
}

/// The smallest share of a CPU over all levels, in thousandths, rounded up so that a limit never reads as 0.
pub(super) fn millicpus(
    chain: &Chain,
    at: impl Fn(&Directory) -> (Observed<Limit>, Observed<u64>),
) -> Observed<Limit> {
    let limits: Vec<Observed<Limit>> = chain
        .directories()
        .iter()
        .map(|directory| {
            let (quota, period) = at(directory);
            quota.and_then(|quota| match quota {
                Limit::Max => Observed::Present(Limit::Max),
                Limit::Of(quota) => {
                    period.map(|period| Limit::Of(quota.saturating_mul(1000).div_ceil(period.max(1))))
                }
            })
        })
        .collect();
    smallest(&limits)
}
