mod enforcing;
mod golden;
mod quorum;
mod shape;
