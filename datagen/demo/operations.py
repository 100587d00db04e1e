# ruff: noqa: E501 - a table reads by its rows
"""The typed operations that the demo model's problems are made of: each with its code and the phrases that ask for it.

Types: L list of numbers, W list of words, S one word, N one number, D dictionary from words to numbers, B true or false,
T a text that no operation takes.
The values stay small (single digits, short words) so that a model of one million weights can learn to compute with them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operation:
    """One step from a value of type `takes` to one of type `gives`.

    `codes` are equivalent Python expressions over `{x}`; `phrases` are imperatives, the most frequent first; every phrase is
    unique among the operations that take the same type, ignoring case.
    """

    name: str
    takes: str
    gives: str
    codes: tuple[str, ...]
    phrases: tuple[str, ...]


def parsed(takes: str, table: str) -> tuple[Operation, ...]:
    """The operations of a table: `name > type | code | code ... | : phrase | phrase | phrase`, one a line."""
    return tuple(_row(takes, line) for line in table.strip().splitlines())


def _row(takes: str, line: str) -> Operation:
    head, phrases = line.split(" : ")
    first, *codes = (part.strip() for part in head.split(" | "))
    name, gives = first.split(" > ")
    return Operation(name, takes, gives, tuple(codes), tuple(part.strip() for part in phrases.split(" | ")))


NUMBERS = parsed(
    "L",
    """
add_one > L | [n + 1 for n in {x}] | list(map(lambda n: n + 1, {x})) : add 1 to each number | increase each number by 1 | make every number 1 larger
add_two > L | [n + 2 for n in {x}] | list(map(lambda n: n + 2, {x})) : add 2 to each number | increase each number by 2 | make every number 2 larger
add_five > L | [n + 5 for n in {x}] : add 5 to each number | increase each number by 5 | make every number 5 larger
less_one > L | [n - 1 for n in {x}] : subtract 1 from each number | decrease each number by 1 | make every number 1 smaller
double > L | [n * 2 for n in {x}] | list(map(lambda n: n * 2, {x})) : double each number | multiply each number by 2 | replace every number with twice its value
triple > L | [n * 3 for n in {x}] : triple each number | multiply each number by 3 | replace every number with three times its value
square > L | [n * n for n in {x}] | [n ** 2 for n in {x}] : square each number | multiply each number by itself | replace every number with its square
halve > L | [n // 2 for n in {x}] : halve each number rounding down | divide each number by 2 rounding down | replace every number with half of it rounded down
mod_three > L | [n % 3 for n in {x}] : take each number modulo 3 | replace each number with its remainder modulo 3 | compute the remainder of every number divided by 3
cap_five > L | [min(n, 5) for n in {x}] : cap each number at 5 | replace each number above 5 with 5 | limit every number to at most 5
keep_even > L | [n for n in {x} if n % 2 == 0] | list(filter(lambda n: n % 2 == 0, {x})) : keep only the even numbers | remove the odd numbers | filter out every odd number
keep_odd > L | [n for n in {x} if n % 2 == 1] | [n for n in {x} if n % 2 != 0] : keep only the odd numbers | remove the even numbers | filter out every even number
keep_above_three > L | [n for n in {x} if n > 3] : keep only the numbers above 3 | remove the numbers up to 3 | drop every number that is 3 or less
keep_above_five > L | [n for n in {x} if n > 5] : keep only the numbers above 5 | remove the numbers up to 5 | drop every number that is 5 or less
keep_below_five > L | [n for n in {x} if n < 5] : keep only the numbers below 5 | remove the numbers from 5 on | drop every number that is 5 or more
keep_below_eight > L | [n for n in {x} if n < 8] : keep only the numbers below 8 | remove the numbers from 8 on | drop every number that is 8 or more
drop_zeros > L | [n for n in {x} if n != 0] | [n for n in {x} if n] : drop the zeros | remove all zeros from the numbers | keep only the numbers that are not 0
backwards > L | {x}[::-1] | list(reversed({x})) : reverse the list of numbers | put the numbers in reverse order | turn the numbers around
sort_up > L | sorted({x}) : sort the numbers in ascending order | sort the numbers from small to large | order the numbers from low to high
sort_down > L | sorted({x}, reverse=True) | sorted({x})[::-1] : sort the numbers in descending order | sort the numbers from large to small | order the numbers from high to low
unique > L | list(dict.fromkeys({x})) : remove repeated numbers | keep the first of equal numbers | drop duplicates from the numbers
first_two > L | {x}[:2] : take the first two numbers | keep the first 2 numbers | return the two numbers in front
last_two > L | {x}[-2:] : take the last two numbers | keep the last 2 numbers | return the two numbers at the end
drop_first > L | {x}[1:] : drop the first number | remove the first number | leave out the number in front
drop_last > L | {x}[:-1] : drop the last number | remove the last number | leave out the number at the end
every_other > L | {x}[::2] : take every second number | keep the numbers at even positions | skip every other number
running > L | [sum({x}[:i + 1]) for i in range(len({x}))] : compute the running totals | replace each number with the total so far | list the cumulative totals of the numbers
gaps > L | [abs(a - b) for a, b in zip({x}, {x}[1:])] : compute the gaps between neighbouring numbers | list the distance of each number to the next | find the absolute differences of neighbouring numbers
rotate > L | {x}[1:] + {x}[:1] : move the first number to the end | rotate the numbers left by one | put the number in front at the end
twice_each > L | [n for n in {x} for _ in range(2)] : repeat each number twice | write each number two times | duplicate every number in place
total > N | sum({x}) : add up the numbers | compute the sum of the numbers | find the total of all numbers
how_many > N | len({x}) : count the numbers | return how many numbers there are | find the length of the list of numbers
largest > N | max({x}) | sorted({x})[-1] : find the largest number | return the maximum of the numbers | pick the biggest number
smallest > N | min({x}) | sorted({x})[0] : find the smallest number | return the minimum of the numbers | pick the lowest number
first_item > N | {x}[0] : return the first number | pick the number in front | get the number at position 0
last_item > N | {x}[-1] : return the last number | pick the number at the end | get the final number
spread > N | max({x}) - min({x}) : compute the largest minus the smallest number | find the range of the numbers | return the spread from smallest to largest number
count_even > N | sum(1 for n in {x} if n % 2 == 0) | len([n for n in {x} if n % 2 == 0]) : count the even numbers | return how many numbers are even | find the amount of even numbers
count_odd > N | sum(1 for n in {x} if n % 2 == 1) | len([n for n in {x} if n % 2 == 1]) : count the odd numbers | return how many numbers are odd | find the amount of odd numbers
count_big > N | sum(1 for n in {x} if n > 4) | len([n for n in {x} if n > 4]) : count the numbers above 4 | return how many numbers exceed 4 | find the amount of numbers above 4
distinct > N | len(set({x})) : count the different numbers | return how many distinct numbers there are | find the amount of distinct numbers
where_largest > N | {x}.index(max({x})) : find the position of the largest number | return the index of the largest number | locate the maximum of the numbers
ends_total > N | {x}[0] + {x}[-1] : add the first and the last number | compute the sum of the first and last number | return the total of both end numbers
has_even > B | any(n % 2 == 0 for n in {x}) : check whether any number is even | test if there is an even number | tell whether some number is even
all_small > B | all(n < 7 for n in {x}) : check whether all numbers are below 7 | test if every number is below 7 | tell whether no number reaches 7
is_rising > B | {x} == sorted({x}) : check whether the numbers are sorted | test if the numbers never fall | tell whether the numbers are in ascending order
has_repeats > B | len(set({x})) < len({x}) : check whether any number repeats | test if some number occurs twice | tell whether the numbers have duplicates
dashed > T | '-'.join(str(n) for n in {x}) : join the numbers with dashes | write the numbers with dashes between them | build a string of the numbers separated by dashes
""",
)

WORDS = parsed(
    "W",
    """
upper_each > W | [w.upper() for w in {x}] | list(map(str.upper, {x})) : put each word in upper case | convert each word to capitals | write every word in capital letters
title_each > W | [w.capitalize() for w in {x}] : capitalize each word | start each word with a capital | make the first letter of every word a capital
flip_each > W | [w[::-1] for w in {x}] : reverse each word | spell each word backwards | turn the letters of every word around
heads > W | [w[0] for w in {x}] : take the first letter of each word | replace each word with its first letter | list the initial of every word
tails > W | [w[-1] for w in {x}] : take the last letter of each word | replace each word with its last letter | list the final letter of every word
shout > W | [w + '!' for w in {x}] : add an exclamation mark to each word | append '!' to each word | end every word with '!'
plural > W | [w + 's' for w in {x}] : add an s to each word | append 's' to each word | end every word with an extra s
backwards > W | {x}[::-1] | list(reversed({x})) : reverse the list of words | put the words in reverse order | list the words from last to first
sort_words > W | sorted({x}) : sort the words alphabetically | sort the words from a to z | put the words in alphabetical order
sort_length > W | sorted({x}, key=len) : sort the words by length | order the words from short to long | arrange the words by their length
keep_long > W | [w for w in {x} if len(w) > 3] : keep only the words longer than 3 letters | remove the words of up to 3 letters | drop every word with at most 3 letters
keep_short > W | [w for w in {x} if len(w) < 4] : keep only the words shorter than 4 letters | remove the words of 4 letters or more | drop every word with 4 letters or more
keep_a > W | [w for w in {x} if 'a' in w] : keep only the words with the letter a | remove the words without an a | drop every word that lacks an a
keep_e > W | [w for w in {x} if 'e' in w] : keep only the words with the letter e | remove the words without an e | drop every word that lacks an e
drop_o > W | [w for w in {x} if 'o' not in w] : keep only the words without the letter o | remove the words with an o | drop every word that has an o
first_two > W | {x}[:2] : take the first two words | keep the first 2 words | return the two words in front
drop_first > W | {x}[1:] : drop the first word | remove the first word | leave out the word in front
drop_last > W | {x}[:-1] : drop the last word | remove the last word | leave out the word at the end
lengths > L | [len(w) for w in {x}] | list(map(len, {x})) : find the length of each word | replace each word with its length | list how many letters every word has
how_many > N | len({x}) : count the words | return how many words there are | find the length of the list of words
letters_total > N | sum(len(w) for w in {x}) : count the letters of all words | compute the total length of the words | add up the lengths of the words
count_long > N | sum(1 for w in {x} if len(w) > 3) : count the words longer than 3 letters | return how many words exceed 3 letters | find the amount of words longer than 3 letters
first_item > S | {x}[0] : return the first word | pick the word in front | get the word at position 0
last_item > S | {x}[-1] : return the last word | pick the word at the end | get the final word
longest > S | max({x}, key=len) : find the longest word | return the word with the most letters | pick the first of the longest words
shortest > S | min({x}, key=len) : find the shortest word | return the word with the fewest letters | pick the first of the shortest words
first_alpha > S | min({x}) : find the alphabetically first word | return the word that is first in the alphabet | pick the earliest word in alphabetical order
dashed > T | '-'.join({x}) : join the words with dashes | write the words with dashes between them | build a string of the words separated by dashes
""",
)

WORD = parsed(
    "S",
    """
upper > S | {x}.upper() : put the word in upper case | convert the word to capitals | write the word in capital letters
title > S | {x}.capitalize() : capitalize the word | start the word with a capital | make the first letter of the word a capital
flip > S | {x}[::-1] | ''.join(reversed({x})) : reverse the word | spell the word backwards | turn the letters of the word around
head > S | {x}[0] : return the first letter of the word | pick the initial of the word | get the letter at the start of the word
tail > S | {x}[-1] : return the last letter of the word | pick the final letter of the word | get the letter at the end of the word
front_two > S | {x}[:2] : take the first two letters of the word | keep the first 2 letters of the word | return the two letters that start the word
behead > S | {x}[1:] : drop the first letter of the word | remove the first letter of the word | leave out the initial of the word
trim_end > S | {x}[:-1] : drop the last letter of the word | remove the last letter of the word | leave out the final letter of the word
no_vowels > S | ''.join(c for c in {x} if c not in 'aeiou') : remove the vowels from the word | drop all vowels of the word | keep only the consonants of the word
shout > S | {x} + '!' : add an exclamation mark to the word | append '!' to the word | end the word with '!'
plural > S | {x} + 's' : add an s to the word | append 's' to the word | end the word with an extra s
size > N | len({x}) : count the letters of the word | find the length of the word | return how many letters the word has
vowels > N | sum(1 for c in {x} if c in 'aeiou') | len([c for c in {x} if c in 'aeiou']) : count the vowels of the word | find the amount of vowels in the word | return how many vowels the word has
starts_vowel > B | {x}[0] in 'aeiou' : check whether the word starts with a vowel | test if the first letter of the word is a vowel | tell whether a vowel begins the word
letters > W | list({x}) | [c for c in {x}] : list the letters of the word | split the word into letters | turn the word into a list of its letters
""",
)

NUMBER = parsed(
    "N",
    """
plus_one > N | {x} + 1 : add 1 to the number | increase the number by 1 | make the number 1 larger
plus_three > N | {x} + 3 : add 3 to the number | increase the number by 3 | make the number 3 larger
minus_two > N | {x} - 2 : subtract 2 from the number | decrease the number by 2 | make the number 2 smaller
twice > N | {x} * 2 | {x} + {x} : double the number | multiply the number by 2 | take twice the number
thrice > N | {x} * 3 : triple the number | multiply the number by 3 | take three times the number
squared > N | {x} * {x} | {x} ** 2 : square the number | multiply the number by itself | compute the square of the number
half > N | {x} // 2 : halve the number rounding down | divide the number by 2 rounding down | take half of the number rounded down
last_digit > N | {x} % 10 : return the last digit of the number | take the number modulo 10 | find the remainder of the number divided by 10
digit_total > N | sum(int(c) for c in str({x})) : add up the digits of the number | compute the digit sum of the number | find the total of the digits of the number
to_ten > N | abs(10 - {x}) | abs({x} - 10) : find the distance of the number to 10 | compute how far the number is from 10 | return the absolute difference of the number and 10
count_up > L | list(range(1, {x} + 1)) : list the numbers from 1 to the number | count from 1 up to the number | build the list of all numbers from 1 to it
count_down > L | list(range({x}, 0, -1)) : list the numbers from the number down to 1 | count down from the number to 1 | build the list of all numbers from it to 1
multiples > L | [{x}, {x} * 2, {x} * 3] | [{x} * i for i in range(1, 4)] : list the first three multiples of the number | list the number with its double and its triple | build a list of 1 and 2 and 3 times the number
neighbours > L | [{x} - 1, {x} + 1] : list both neighbours of the number | build a list of the number before and the number after it | return the numbers 1 below and 1 above
digits > L | [int(c) for c in str({x})] : list the digits of the number | split the number into digits | turn the number into a list of its digits
even > B | {x} % 2 == 0 : check whether the number is even | test if the number can be halved evenly | tell whether 2 divides the number
""",
)

TABLE = parsed(
    "D",
    """
names > W | list({x}) | list({x}.keys()) : list the keys | return a list of all keys | collect the keys in a list
amounts > L | list({x}.values()) : list the values | return a list of all values | collect the values in a list
sorted_names > W | sorted({x}) : sort the keys alphabetically | list the keys in alphabetical order | return the keys from a to z
values_sum > N | sum({x}.values()) : add up the values | compute the sum of the values | find the total of all values
top_value > N | max({x}.values()) : find the largest value | return the maximum of the values | pick the biggest value
low_value > N | min({x}.values()) : find the smallest value | return the minimum of the values | pick the lowest value
how_many > N | len({x}) : count the keys | return how many keys there are | find the amount of keys
best > S | max({x}, key={x}.get) : find the key with the largest value | return the key that has the biggest value | pick the key of the maximum
worst > S | min({x}, key={x}.get) : find the key with the smallest value | return the key that has the lowest value | pick the key of the minimum
rich > D | {{k: v for k, v in {x}.items() if v > 3}} : keep only the keys with a value above 3 | remove the keys with a value up to 3 | drop every key whose value is 3 or less
poor > D | {{k: v for k, v in {x}.items() if v < 6}} : keep only the keys with a value below 6 | remove the keys with a value from 6 on | drop every key whose value is 6 or more
grow > D | {{k: v + 1 for k, v in {x}.items()}} : add 1 to each value | increase each value by 1 | make every value 1 larger
double_values > D | {{k: v * 2 for k, v in {x}.items()}} : double each value | multiply each value by 2 | replace every value with twice its amount
shorter > D | {{k: v for k, v in {x}.items() if len(k) < 4}} : keep only the keys shorter than 4 letters | remove the keys of 4 letters or more | drop every key with 4 letters or more
""",
)

OPERATIONS: tuple[Operation, ...] = NUMBERS + WORDS + WORD + NUMBER + TABLE
