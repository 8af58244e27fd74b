-- Which tenant and type the words of a record belong to, so that nobody else's are walked: `t` and `k` before hexadecimal digits.
DROP TABLE entity_words;
CREATE VIRTUAL TABLE entity_words USING fts5 (
    scope, words, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);
INSERT INTO entity_words (rowid, scope, words) SELECT number, 't' || hex(tenant_id) || ' k' || hex(type), words_of(data) FROM entities;
