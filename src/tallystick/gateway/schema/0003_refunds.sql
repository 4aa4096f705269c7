-- Begun: its statements come with the part that needs them.
SELECT 1;
