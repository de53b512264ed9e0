package main

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// The model of one campaign: stock, limits per user, idempotency keys.
//
// What is strictly linearizable. There is one order of all operations that contains the order of non-overlapping ones,
// and in which
//   - participations are committed in order of rank, each rank once ("the rank is the order of arrival");
//   - the units never exceed the stock (I1), a user's units never the limit (I2), a request never the maximum;
//   - a key has one participation; every response to the key has its id, rank, quantity and remaining units; another
//     body is a conflict, and only then;
//   - ALREADY_PARTICIPATED names a committed participation of that user;
//   - a refusal with a key comes before the participation of the key, which is then due to an attempt that began after
//     the refused one (I10);
//   - a cancellation happens once, after its participation, not after its response, and only if somebody asked for it;
//   - the last reading has exactly what was committed, with the same values (I5), and nothing that nobody asked for.
//
// Where the service promises less, this is checked instead:
//   - SOLD_OUT and LIMIT_EXCEEDED. The gate says no while a reservation holds the units, even if that reservation is
//     never committed. So they are valid if the committed units, those which are held, and those of the request exceed
//     the stock (the limit). Held are at most: units of requests without a known outcome that led to nothing, until
//     their lease has ended (`hold_ns`); units of a repeated key, which the gate may admit before the store knows the key
//     again, and units of cancelled participations, until the gate and the copies of "sold out"
//     must know (`lag_ns`); and, when gates may be rebuilt (`unsettled_ns`), units of every request until its response.
//     Without cancellations and lost responses nearby, a refusal is therefore checked exactly.
//   - `remaining` of a participation is what the gate counts: at most the stock minus the committed units up to its
//     rank, and lower by at most what is held in the same sense.
//   - A reading of the stock is up to `age_ns` old, but includes every participation that was accepted before. It is
//     compared with the lowest and the highest possible number.
//   - Windows, pauses, payments and changes of a campaign are not modelled.
var model = porcupine.Model{
	Partition: partition,
	Init:      func() any { return &state{} },
	Step: func(before, input, _ any) (bool, any) {
		after := before.(*state).step(input.(*operation))
		return after != nil, after
	},
	Equal:             func(one, other any) bool { return one.(*state).Equal(other.(*state)) },
	DescribeOperation: func(input, _ any) string { return input.(*operation).String() },
	DescribeState: func(of any) string {
		state := of.(*state)
		return fmt.Sprintf("%d units sold, %d participations", state.sold, state.committed)
	},
}

// partition divides a history by campaign: campaigns share nothing.
func partition(history []porcupine.Operation) [][]porcupine.Operation {
	numbers := map[*Campaign]int{}
	var parts [][]porcupine.Operation
	for _, one := range history {
		campaign := one.Input.(*operation).campaign
		nth, isKnown := numbers[campaign]
		if !isKnown {
			nth = len(parts)
			numbers[campaign] = nth
			parts = append(parts, nil)
		}
		parts[nth] = append(parts[nth], one)
	}
	return parts
}

// step returns the state after an operation, or nil if the operation is impossible in this state.
func (before *state) step(operation *operation) *state {
	is := false
	switch operation.kind {
	case commit:
		return before.commit(operation)
	case giveUp:
		return before.giveUp(operation)
	case replay:
		row := operation.row
		is = row.number < before.committed && row.isSaidBy(operation.line)
	case cancelled:
		is = before.cancelled.get(operation.row.number)
	case refusal:
		return before.refuse(operation)
	case reading:
		is = operation.least <= operation.line.Units && operation.line.Units <= operation.most
	case last:
		is = before.isListed(operation.rows)
	}
	if !is {
		return nil
	}
	return before
}

func (before *state) commit(operation *operation) *state {
	row, campaign := operation.row, operation.campaign
	if row.isPhantom || row.number != before.committed || !row.isRankNew {
		return nil
	}
	if operation.line != nil && !row.isSaidBy(operation.line) {
		return nil
	}
	after := *before
	after.committed++
	after.sold += row.Quantity
	units := before.held.get(row.user) + row.Quantity
	if units > campaign.Limit || row.Quantity > campaign.Max {
		return nil
	}
	if campaign.Stock != nil {
		left := *campaign.Stock - after.sold
		if left < 0 || row.Remaining != nil && !before.mayBeLeft(operation, left, *row.Remaining) {
			return nil
		}
	}
	after.held = before.held.with(row.user, units)
	if row.key >= 0 {
		key := before.keys.get(row.key)
		if key.row != 0 || operation.lastAttempt < key.refused {
			return nil
		}
		key.row = row.number + 1
		after.keys = before.keys.with(row.key, key)
	}
	return &after
}

// mayBeLeft is whether the gate can have counted these remaining units while `left` were.
func (before *state) mayBeLeft(operation *operation, left, remaining int64) bool {
	return remaining <= left && left <= remaining+operation.ghosts+before.unnoticed(operation, -1)
}

func (before *state) giveUp(operation *operation) *state {
	row := operation.row
	if operation.isUnasked || row.number >= before.committed || before.cancelled.get(row.number) {
		return nil
	}
	after := *before
	after.sold -= row.Quantity
	after.held = before.held.with(row.user, before.held.get(row.user)-row.Quantity)
	after.cancelled = before.cancelled.with(row.number, true)
	return &after
}

// unnoticed is the number of units of cancelled participations of which the gate may not know, of one user or of all.
func (before *state) unnoticed(operation *operation, user int) (units int64) {
	for _, row := range operation.lagging {
		if before.cancelled.get(row.number) && (user < 0 || row.user == user) {
			units += row.Quantity
		}
	}
	return units
}

func (before *state) refuse(operation *operation) *state {
	campaign, line := operation.campaign, operation.line
	key := keyUse{}
	if operation.key >= 0 {
		key = before.keys.get(operation.key)
	}
	isRight := false
	switch line.Outcome {
	case conflict:
		// The key stands for another request.
		if key.row == 0 || operation.rows[key.row-1].Quantity == line.Quantity {
			return nil
		}
		return before
	case soldOut:
		taken := before.sold + operation.ghosts + before.unnoticed(operation, -1)
		isRight = campaign.Stock != nil && taken+line.Quantity > *campaign.Stock
	case limited:
		held := before.held.get(operation.user) + operation.ghostsOfUser + before.unnoticed(operation, operation.user)
		isRight = line.Quantity > campaign.Max || held+line.Quantity > campaign.Limit
	case already:
		isRight = before.hasAlready(operation)
	}
	// A refused key has no participation yet.
	if !isRight || key.row != 0 {
		return nil
	}
	if operation.key < 0 || key.refused > line.Call {
		return before
	}
	after := *before
	key.refused = line.Call + 1
	after.keys = before.keys.with(operation.key, key)
	return &after
}

func (before *state) hasAlready(operation *operation) bool {
	row := operation.row
	if operation.campaign.Limit != 1 || row == nil || row.user != operation.user || row.number >= before.committed {
		return false
	}
	if !before.cancelled.get(row.number) {
		return true
	}
	for _, lagging := range operation.lagging {
		if lagging == row {
			return true
		}
	}
	return false
}

// isListed is whether a reading of all participations shows this state.
func (before *state) isListed(rows []*row) bool {
	for _, row := range rows {
		isThere := row.number < before.committed
		isCancelled := before.cancelled.get(row.number)
		if isThere != row.isListed || isThere && isCancelled != row.isGivenUp() {
			return false
		}
	}
	return true
}
