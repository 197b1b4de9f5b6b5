module sealwright.test/peer

go 1.24
