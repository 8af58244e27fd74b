-- Words are found in every script now, and without diacritics: the index is built again.
DELETE FROM entity_words;
INSERT INTO entity_words (rowid, words) SELECT number, words_of(data) FROM entities;
