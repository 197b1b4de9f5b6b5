//! The engine: one per process, shared by all policies.
//!
//! Fuel is what stops a policy, because fuel is repeatable. The epoch is a
//! backstop for the host's sake only, and its hits are never a verdict.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use flume::{RecvTimeoutError, Sender, bounded};
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy, WasmFeatures,
};

use crate::{
    policy::CompiledCache,
    precompiled::Precompiled,
    profile::{self, EngineProfile},
};

/// Settings of the engine. Those that can change a verdict are in the
/// [`EngineProfile`].
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Instances that can exist at one time. Each reserves [`Self::max_memory_bytes`]
    /// of address space (not memory); a decision with no free slot is aborted.
    pub slots: u32,
    /// How long one call may run before it is aborted; at least one second.
    pub epoch_deadline: Duration,
    /// The most linear memory that any policy's limits may name, in bytes.
    pub max_memory_bytes: u64,
    /// The most table elements that any policy's limits may name.
    pub max_table_elements: u64,
    /// The largest component that is compiled, in bytes.
    pub max_component_bytes: usize,
    /// Where code is kept between starts: made with mode 0700 when it is not there, and used only
    /// while nobody else can. `None` compiles everything at each start.
    pub code_folder: Option<PathBuf>,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            slots: 32,
            epoch_deadline: Duration::from_secs(2),
            max_memory_bytes: 64 << 20,
            max_table_elements: 20_000,
            max_component_bytes: 32 << 20,
            code_folder: None,
        }
    }
}

/// Where the code of components came from, since the engine was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodeOrigins {
    /// From [`EngineSettings::code_folder`].
    pub kept: u64,
    /// Compiled.
    pub compiled: u64,
    /// Files in the folder that were not used because something about them was odd.
    pub refused: u64,
}

/// Ticks in one epoch deadline. The first comes early by up to one tick, so a
/// call gets at least the deadline when it is given one tick more.
const TICKS: u64 = 4;
const MIN_EPOCH_DEADLINE: Duration = Duration::from_secs(1);

/// The stack of WebAssembly code, in bytes.
pub(crate) const WASM_STACK_BYTES: usize = 256 << 10;
/// Memory of a used instance that is cleared rather than given back, in bytes.
const KEEP_RESIDENT_BYTES: usize = 256 << 10;
/// Core instances, memories and tables in one component: enough for the
/// runtimes of other languages, which consist of several modules.
pub(crate) const MAX_CORE_INSTANCES: u32 = 40;
pub(crate) const MAX_MEMORIES: u32 = 8;
pub(crate) const MAX_TABLES: u32 = 40;

/// The WebAssembly that a policy may use; everything else is off, whatever a
/// later wasmtime turns on by default. Left out on purpose: threads, relaxed
/// SIMD and GC, which are or may be non-deterministic.
pub(crate) const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::CALL_INDIRECT_OVERLONG)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::BULK_MEMORY_OPT)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);

/// The WebAssembly engine. Cheap to clone; the ticker ends with the last clone.
#[derive(Clone, Debug)]
pub struct Engine {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
pub(crate) struct Origins {
    pub(crate) kept: AtomicU64,
    pub(crate) compiled: AtomicU64,
    pub(crate) refused: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    wasmtime: wasmtime::Engine,
    settings: EngineSettings,
    profile: EngineProfile,
    compiled: CompiledCache,
    precompiled: Option<Precompiled>,
    origins: Origins,
    /// Never used to send: its end is the ticker's signal to stop.
    _ticker: Sender<()>,
}

impl Engine {
    /// Reserves the pool and starts the ticker.
    ///
    /// # Errors
    /// When the settings make no sense, or the system refuses the address
    /// space or the thread.
    pub fn new(settings: EngineSettings) -> Result<Self, EngineError> {
        if settings.epoch_deadline < MIN_EPOCH_DEADLINE {
            return Err(EngineError::EpochDeadline(settings.epoch_deadline));
        }
        let wasmtime = wasmtime::Engine::new(&configure(&settings)?).map_err(EngineError::Wasm)?;
        let ticker = start_ticker(&wasmtime, tick(&settings))?;
        let profile = profile::of(&settings);
        Ok(Self {
            shared: Arc::new(Shared {
                precompiled: open_precompiled(&settings, &wasmtime, &profile),
                wasmtime,
                settings,
                profile,
                compiled: CompiledCache::default(),
                origins: Origins::default(),
                _ticker: ticker,
            }),
        })
    }

    /// Everything about this engine that can change a verdict.
    #[must_use]
    pub fn profile(&self) -> &EngineProfile {
        &self.shared.profile
    }

    /// The settings it was made with.
    #[must_use]
    pub fn settings(&self) -> &EngineSettings {
        &self.shared.settings
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.shared.wasmtime
    }

    /// A second one of the same settings, to compile with and then to drop: a compiler keeps what it
    /// needed for its largest function, for each thread, as long as its engine lives.
    pub(crate) fn for_compiling(&self) -> Result<wasmtime::Engine, EngineError> {
        wasmtime::Engine::new(&configure(&self.shared.settings)?).map_err(EngineError::Wasm)
    }

    /// Components that are in use, so that none is compiled twice.
    pub(crate) fn compiled(&self) -> &CompiledCache {
        &self.shared.compiled
    }

    /// Code that was kept by earlier starts.
    pub(crate) fn precompiled(&self) -> Option<&Precompiled> {
        self.shared.precompiled.as_ref()
    }

    pub(crate) fn origins(&self) -> &Origins {
        &self.shared.origins
    }

    /// Where the code of its components came from.
    #[must_use]
    pub fn code_origins(&self) -> CodeOrigins {
        let Origins {
            kept,
            compiled,
            refused,
        } = self.origins();
        CodeOrigins {
            kept: kept.load(Ordering::Relaxed),
            compiled: compiled.load(Ordering::Relaxed),
            refused: refused.load(Ordering::Relaxed),
        }
    }

    /// Ticks after which a call is interrupted.
    pub(crate) fn epoch_ticks(&self) -> u64 {
        TICKS + 1
    }
}

/// A folder that cannot be used costs time and no more: everything is compiled.
fn open_precompiled(
    settings: &EngineSettings,
    engine: &wasmtime::Engine,
    profile: &EngineProfile,
) -> Option<Precompiled> {
    let folder = settings.code_folder.as_ref()?;
    Precompiled::open(folder, engine, profile.digest)
        .inspect_err(|error| {
            tracing::warn!(error = %told(error), "no code is kept between starts: every policy is compiled");
        })
        .ok()
}

fn tick(settings: &EngineSettings) -> Duration {
    settings.epoch_deadline / u32::try_from(TICKS).unwrap_or(1)
}

fn configure(settings: &EngineSettings) -> Result<Config, EngineError> {
    let bytes = |value: u64| usize::try_from(value).map_err(|_| EngineError::TooLarge(value));
    let slots = settings.slots.max(1);

    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(MAX_CORE_INSTANCES))
        // A Rust guest has one memory and a few tables; components with more
        // take from the same pool, and find it full sooner.
        .total_memories(slots)
        .total_tables(slots.saturating_mul(4))
        .max_core_instances_per_component(MAX_CORE_INSTANCES)
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .max_memory_size(bytes(settings.max_memory_bytes)?)
        .table_elements(bytes(settings.max_table_elements)?)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_BYTES)
        // Only what a decision touched is cleared, where the kernel (6.7) can tell.
        .pagemap_scan(Enabled::Auto)
        .max_unused_warm_slots(slots);

    let mut config = Config::new();
    config
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(FEATURES, true)
        .concurrency_support(false)
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(true)
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .memory_init_cow(true)
        // Bounds are checked by code, not by page protection: the page tables would be changed twice
        // for every decision, and each change interrupts all processors that the process runs on.
        .signals_based_traps(false)
        .memory_reservation(settings.max_memory_bytes)
        .memory_reservation_for_growth(0)
        .memory_guard_size(0)
        .wasm_backtrace_max_frames(None)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Ok(config)
}

fn start_ticker(engine: &wasmtime::Engine, tick: Duration) -> Result<Sender<()>, EngineError> {
    let (stop, stopped) = bounded::<()>(0);
    let engine = engine.weak();
    thread::Builder::new()
        .name("policy-ticker".to_owned())
        .spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(tick) {
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => break,
                }
            }
        })
        .map_err(EngineError::Thread)?;
    Ok(stop)
}

/// An error with its causes on one line.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The backstop must not compete with fuel.
    #[error("the epoch deadline is {0:?}, but has to be at least one second")]
    EpochDeadline(Duration),
    /// A size does not fit this machine's addresses.
    #[error("a limit of {0} bytes is too large for this machine")]
    TooLarge(u64),
    /// wasmtime refused the configuration, or the system the address space.
    #[error(
        "the WebAssembly engine did not start; when the limit on virtual memory is low, lower the number of slots"
    )]
    Wasm(#[source] wasmtime::Error),
    /// The system refused a thread.
    #[error("the ticker thread did not start")]
    Thread(#[source] std::io::Error),
}
