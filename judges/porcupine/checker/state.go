package main

// The state of a campaign. States are never changed: a step makes a new one, which shares most of its memory with the
// old one. Users, participations and keys are numbered by resolve.go, participations in order of rank.
type state struct {
	sold      int64          // units of committed participations that were not cancelled
	committed int            // participations committed so far: those with the numbers below
	cancelled vector[bool]   // by participation
	held      vector[int64]  // by user: units
	keys      vector[keyUse] // by key
}

// keyUse is what is known of an idempotency key.
type keyUse struct {
	row     int   // number of its participation, plus one; 0: none
	refused int64 // the latest call of a request that was refused with it, plus one; 0: none
}

// Equal compares two states. Shared chunks are equal without being read.
func (one *state) Equal(other *state) bool {
	return one.sold == other.sold && one.committed == other.committed &&
		one.cancelled.equal(other.cancelled) && one.held.equal(other.held) && one.keys.equal(other.keys)
}

const chunk = 16

// vector is an immutable array that grows; values that were never set are zero.
type vector[T comparable] struct {
	chunks []*[chunk]T
}

func (vector vector[T]) get(at int) (value T) {
	if nth := at / chunk; nth < len(vector.chunks) && vector.chunks[nth] != nil {
		value = vector.chunks[nth][at%chunk]
	}
	return value
}

func (old vector[T]) with(at int, value T) vector[T] {
	nth := at / chunk
	chunks := make([]*[chunk]T, max(len(old.chunks), nth+1))
	copy(chunks, old.chunks)
	changed := new([chunk]T)
	if chunks[nth] != nil {
		*changed = *chunks[nth]
	}
	changed[at%chunk] = value
	chunks[nth] = changed
	return vector[T]{chunks}
}

func (one vector[T]) equal(other vector[T]) bool {
	zero := new([chunk]T)
	for nth := range max(len(one.chunks), len(other.chunks)) {
		mine, theirs := zero, zero
		if nth < len(one.chunks) && one.chunks[nth] != nil {
			mine = one.chunks[nth]
		}
		if nth < len(other.chunks) && other.chunks[nth] != nil {
			theirs = other.chunks[nth]
		}
		if mine != theirs && *mine != *theirs {
			return false
		}
	}
	return true
}
