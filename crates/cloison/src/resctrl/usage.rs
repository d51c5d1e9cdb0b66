//! What `events` tells of a group, key by key as `runc` does.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::{Error, Group, Resctrl, schemata};

/// The object `intel_rdt` of `events`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_info: Option<CacheInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_schema_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_schema: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_info: Option<BandwidthInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_schema_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_schema: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    schemata: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mbm_stats: Option<Vec<Bandwidth>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmt_stats: Option<Vec<Occupancy>>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct CacheInfo {
    #[serde(skip_serializing_if = "String::is_empty")]
    cbm_mask: String,
    #[serde(skip_serializing_if = "is_zero")]
    min_cbm_bits: u64,
    #[serde(skip_serializing_if = "is_zero")]
    num_closids: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct BandwidthInfo {
    #[serde(skip_serializing_if = "is_zero")]
    bandwidth_gran: u64,
    #[serde(skip_serializing_if = "is_zero")]
    delay_linear: u64,
    #[serde(skip_serializing_if = "is_zero")]
    min_bandwidth: u64,
    #[serde(skip_serializing_if = "is_zero")]
    num_closids: u64,
}

/// Bytes that went through one memory controller.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Bandwidth {
    mbm_total_bytes: u64,
    mbm_local_bytes: u64,
}

/// Bytes of one cache.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Occupancy {
    llc_occupancy: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Resctrl {
    /// What is known of a group.
    ///
    /// # Errors
    /// A file is not there, or does not hold a number.
    pub fn usage(&self, group: &Group) -> Result<Usage, Error> {
        let all = self.read(&self.root.join("schemata"))?;
        let all: Vec<_> = all.lines().map(str::trim).collect();
        let own = self.shares(group)?;
        let line = |name: &str| own.iter().find(|line| schemata::resource(line) == name).cloned();
        let root =
            |name: &str| all.iter().find(|line| schemata::resource(line) == name).map(ToString::to_string);
        let mut usage = Usage::default();
        if self.has("L3") {
            usage.l3_cache_info = Some(self.cache_info()?);
            (usage.l3_cache_schema_root, usage.l3_cache_schema) = (root("L3"), line("L3"));
        }
        if self.has("MB") {
            usage.mem_bw_info = Some(self.bandwidth_info()?);
            (usage.mem_bw_schema_root, usage.mem_bw_schema) = (root("MB"), line("MB"));
        }
        if self.has("L3_MON") {
            self.counters(group.monitor.as_deref().unwrap_or(&group.class), &mut usage)?;
        }
        usage.schemata = own;
        Ok(usage)
    }

    fn cache_info(&self) -> Result<CacheInfo, Error> {
        let info = self.root.join("info/L3");
        Ok(CacheInfo {
            cbm_mask: self.read(&info.join("cbm_mask"))?,
            min_cbm_bits: self.number(&info.join("min_cbm_bits"))?,
            num_closids: self.number(&info.join("num_closids"))?,
        })
    }

    fn bandwidth_info(&self) -> Result<BandwidthInfo, Error> {
        let info = self.root.join("info/MB");
        Ok(BandwidthInfo {
            bandwidth_gran: self.number(&info.join("bandwidth_gran"))?,
            delay_linear: self.number(&info.join("delay_linear"))?,
            min_bandwidth: self.number(&info.join("min_bandwidth"))?,
            num_closids: self.number(&info.join("num_closids"))?,
        })
    }

    fn counters(&self, group: &Path, usage: &mut Usage) -> Result<(), Error> {
        let features = self.read(&self.root.join("info/L3_MON/mon_features"))?;
        let has = |name: &str| features.lines().any(|feature| feature == name);
        let (total, local) = (has("mbm_total_bytes"), has("mbm_local_bytes"));
        let data = group.join("mon_data");
        let entries = fs::read_dir(&data).map_err(|error| self.failed("reading", &data, error))?;
        let mut places: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        places.retain(|path| path.is_dir());
        places.sort();
        let count = |place: &Path, name: &str, known: bool| {
            if known { self.number(&place.join(name)) } else { Ok(0) }
        };
        if total || local {
            let all = places.iter().map(|place| {
                Ok(Bandwidth {
                    mbm_total_bytes: count(place, "mbm_total_bytes", total)?,
                    mbm_local_bytes: count(place, "mbm_local_bytes", local)?,
                })
            });
            usage.mbm_stats = Some(all.collect::<Result<_, Error>>()?);
        }
        if has("llc_occupancy") {
            let all = places
                .iter()
                .map(|place| Ok(Occupancy { llc_occupancy: self.number(&place.join("llc_occupancy"))? }));
            usage.cmt_stats = Some(all.collect::<Result<_, Error>>()?);
        }
        Ok(())
    }

    fn number(&self, path: &Path) -> Result<u64, Error> {
        let text = self.read(path)?;
        // What cannot be counted at the moment is no reason to tell nothing.
        if matches!(text.as_str(), "Unavailable" | "Error") {
            log::debug!("{}: {text}", path.display());
            return Ok(0);
        }
        text.parse().map_err(|_| Error::Content { path: path.to_owned(), found: text, expected: "a number" })
    }
}
