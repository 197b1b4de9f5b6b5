//! What decides is what people agreed on: activation, evidence against it, and every way round it.

mod canaries;
mod evidence;
mod life;
mod people;
mod quorum;
mod starts;
