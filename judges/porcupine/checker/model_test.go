package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/anishathalye/porcupine"
)

func TestLinearizable(t *testing.T) {
	expect(t, porcupine.Ok, 2, 1, []history{
		{"one after the other", `
0-9 user 1 takes 1 -> accepted x rank 1 left 1
10-19 user 2 takes 1 -> accepted y rank 3 left 0
20-29 user 3 takes 1 -> sold_out
30-39 user 1 takes 1 -> already x
40-49 stock -> 0
row user 1 has 1 x rank 1 left 1
row user 2 has 1 y rank 3 left 0`},
		{"at the same time, answered in another order", `
0-90 user 1 takes 1 -> accepted x rank 2
1-80 user 2 takes 1 -> accepted y rank 1
2-10 user 3 takes 1 -> sold_out
row user 2 has 1 y rank 1
row user 1 has 1 x rank 2`},
		{"a lost response was a participation", `
0-9 user 1 takes 1 key a -> unknown
20-29 user 1 takes 1 key a -> accepted x rank 1
30-39 user 2 takes 1 -> unknown
40-49 user 3 takes 1 -> sold_out
50-59 user 2 takes 1 -> already y
row user 1 has 1 x rank 1
row user 2 has 1 y rank 2`},
		{"a cancelled unit is sold again", `
0-9 user 1 takes 1 -> accepted x rank 1 left 1
10-19 user 2 takes 1 -> accepted y rank 2 left 0
20-29 user 2 cancels y -> done
25-35 user 3 takes 1 -> accepted z rank 3 left 0
36-39 user 2 cancels y -> done
40-49 user 2 takes 1 -> sold_out
row user 1 has 1 x rank 1 left 1
row user 2 has 1 y rank 2 left 0 cancelled
row user 3 has 1 z rank 3 left 0`},
		{"a key is asked again after its refusal, and another body is a conflict", `
0-9 user 1 takes 1 -> accepted x rank 1
10-19 user 2 takes 1 -> accepted y rank 2
20-29 user 3 takes 1 key a -> sold_out
30-39 user 1 cancels x -> done
40-49 user 3 takes 1 key a -> accepted z rank 3
50-59 user 3 takes 2 key a -> conflict
row user 1 has 1 x rank 1 cancelled
row user 2 has 1 y rank 2
row user 3 has 1 z rank 3`},
	}, nil)
}

func TestNotLinearizable(t *testing.T) {
	expect(t, porcupine.Illegal, 2, 1, []history{
		{"oversold", `
0-9 user 1 takes 1 -> accepted x rank 1
0-9 user 2 takes 1 -> accepted y rank 2
0-9 user 3 takes 1 -> accepted z rank 3
row user 1 has 1 x rank 1
row user 2 has 1 y rank 2
row user 3 has 1 z rank 3`},
		{"more than a user's limit", `
0-9 user 1 takes 1 -> accepted x rank 1
10-19 user 1 takes 1 -> accepted y rank 2
row user 1 has 1 x rank 1
row user 1 has 1 y rank 2`},
		{"sold out while a unit is left", `
0-9 user 1 takes 1 -> accepted x rank 1
10-19 user 2 takes 1 -> sold_out
20-29 user 3 takes 1 -> accepted y rank 2
row user 1 has 1 x rank 1
row user 3 has 1 y rank 2`},
		{"already, before the participation was asked for", `
0-9 user 1 takes 1 -> already x
10-19 user 1 takes 1 -> accepted x rank 1
row user 1 has 1 x rank 1`},
		{"an accepted participation is lost", `
0-9 user 1 takes 1 -> accepted x rank 1`},
		{"nobody asked for a participation", `
0-9 user 1 takes 1 -> accepted x rank 1
row user 1 has 1 x rank 1
row user 2 has 1 y rank 2`},
		{"a later request has the lower rank", `
0-9 user 1 takes 1 -> accepted x rank 2
10-19 user 2 takes 1 -> accepted y rank 1
row user 2 has 1 y rank 1
row user 1 has 1 x rank 2`},
		{"a rank is given twice", `
0-9 user 1 takes 1 -> accepted x rank 1
0-9 user 2 takes 1 -> accepted y rank 1
row user 1 has 1 x rank 1
row user 2 has 1 y rank 1`},
		{"a key is answered differently", `
0-9 user 1 takes 1 key a -> accepted x rank 1
10-19 user 1 takes 1 key a -> accepted x rank 2
row user 1 has 1 x rank 1`},
		{"a key is refused after it was accepted", `
0-9 user 1 takes 1 key a -> accepted x rank 1
10-19 user 2 takes 1 -> accepted y rank 2
20-29 user 1 takes 1 key a -> sold_out
row user 1 has 1 x rank 1
row user 2 has 1 y rank 2`},
		{"a conflict of a key without a participation", `
0-9 user 1 takes 1 key a -> conflict`},
		{"a cancellation is lost", `
0-9 user 1 takes 1 -> accepted x rank 1
10-19 user 1 cancels x -> done
row user 1 has 1 x rank 1`},
		{"nobody asked for a cancellation", `
0-9 user 1 takes 1 -> accepted x rank 1
row user 1 has 1 x rank 1 cancelled`},
		{"too few remain", `
0-9 user 1 takes 1 -> accepted x rank 1 left 0
row user 1 has 1 x rank 1 left 0`},
		{"a reading lacks an accepted participation", `
0-9 user 1 takes 1 -> accepted x rank 1
10-11 stock -> 2
row user 1 has 1 x rank 1`},
	}, func(campaign *Campaign) { campaign.Age = 100 })
}

func TestAKeySellsOnce(t *testing.T) {
	expect(t, porcupine.Illegal, 9, 4, []history{{"two participations of a key", `
0-9 user 1 takes 1 key a -> accepted x rank 1
10-19 user 1 takes 1 key a -> accepted y rank 2
row user 1 has 1 x rank 1
row user 1 has 1 y rank 2`}, {"the refused attempt commits later", `
0-5 user 1 takes 4 -> accepted x rank 1
10-60 user 1 takes 1 key a -> accepted y rank 2
11-20 user 1 takes 1 key a -> limit
21-30 user 1 cancels x -> done
row user 1 has 4 x rank 1 cancelled
row user 1 has 1 y rank 2`}}, nil)
}

// The parameters decide how much less than linearizability is promised.
func TestHeldUnits(t *testing.T) {
	undone := []history{{"a lease without a commit", `
0-9 user 1 takes 2 -> unknown
15-19 user 2 takes 1 -> sold_out`}}
	late := []history{{"the gate learns of a cancellation later", `
0-9 user 1 takes 2 -> accepted x rank 1
10-19 user 1 cancels x -> done
25-29 user 1 takes 1 -> limit
25-29 user 2 takes 1 -> sold_out
row user 1 has 2 x rank 1 cancelled`}}
	twice := []history{{"an admission is void, and repeated", `
0-90 user 1 takes 2 -> sold_out
1-9 user 2 takes 1 -> sold_out
10-19 user 3 takes 2 -> accepted x rank 7
row user 3 has 2 x rank 7`}}
	expect(t, porcupine.Illegal, 2, 2, undone, func(campaign *Campaign) { campaign.Hold = 5 })
	expect(t, porcupine.Ok, 2, 2, undone, func(campaign *Campaign) { campaign.Hold = 6 })
	expect(t, porcupine.Illegal, 2, 2, late, func(campaign *Campaign) { campaign.Lag = 5 })
	expect(t, porcupine.Ok, 2, 2, late, func(campaign *Campaign) { campaign.Lag = 6 })
	// Found in a run on MySQL and Redis: user 1 has one of two units, and repeats the key.
	repeated := []history{{"a repeated key holds units until it is known", `
0-9 user 1 takes 1 key a -> accepted x rank 1
10-30 user 1 takes 1 key a -> accepted x rank 1
11-19 user 1 takes 1 -> limit
row user 1 has 1 x rank 1`}}
	expect(t, porcupine.Ok, 9, 2, repeated, nil)
	expect(t, porcupine.Illegal, 9, 3, repeated, nil)
	expect(t, porcupine.Illegal, 2, 2, twice, nil)
	expect(t, porcupine.Ok, 2, 2, twice, func(campaign *Campaign) { campaign.Unsettled = [][2]int64{{5, 7}} })
}

func TestReading(t *testing.T) {
	campaign := campaignOf(t, 1, 1, "0-9 user 1 takes 1 -> accepted x rank 1\nrow user 1 has 1 x rank 1")
	var written bytes.Buffer
	encoder := json.NewEncoder(&written)
	head := campaign.Line
	head.Op = "campaign"
	end := campaign.End
	end.Campaign, end.Rows = 1, 1
	for _, line := range []Line{head, campaign.Requests[0], campaign.Listed[0], end} {
		if err := encoder.Encode(line); err != nil {
			t.Fatal(err)
		}
	}
	read := 0
	pass := func(campaign *Campaign) error {
		if read++; verdict(campaign) != porcupine.Ok {
			t.Error("a written history is not what it was")
		}
		return nil
	}
	if err := Read(bytes.NewReader(written.Bytes()), pass); err != nil || read != 1 {
		t.Error(read, err)
	}
	lines := bytes.SplitAfter(written.Bytes(), []byte("\n"))
	for _, cut := range [][][]byte{lines[:3], append(lines[:2:2], lines[3]), lines[1:]} {
		if Read(bytes.NewReader(bytes.Join(cut, nil)), pass) == nil {
			t.Error("a history that is cut off is read")
		}
	}
}
